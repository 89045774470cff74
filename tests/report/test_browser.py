"""The page in a real browser: everything that moves, and everything that must not."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.printable_text import printable, printable_document
from robustbench_fgsm.report.loaded_run import LoadedRun, load_run
from robustbench_fgsm.report.pages.page import build_page as report
from robustbench_fgsm.report.pages.ranking import paired_differences
from robustbench_fgsm.report.pages.svg_chart import BOTTOM, LEFT, RIGHT, SIZES, TOP
from robustbench_fgsm.report.tables.text import rate_text
from tests.report.conftest import subject as drawn
from tests.report.runs import FORMULA, HOSTILE, TEMPLATE, TURNED, crossed, gallery, hostile, run, taught, wide
from tests.report.verifications import THRESHOLD, verification

pytestmark = pytest.mark.browser

Measured = Callable[..., dict[str, Any]]
Page = Any

REQUIRED = "RFGSM_REQUIRE_BROWSER" in os.environ
"""Set where a missing browser is a fault, as in continuous integration; elsewhere these tests are skipped without one."""

if not REQUIRED:
    pytest.importorskip("playwright.sync_api")
    pytest.importorskip("axe_playwright_python")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("a browser must be there, because RFGSM_REQUIRE_BROWSER is set, got none: install chromium")
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open the page of some runs; afterwards there was no error, no dialog and no request but for the file itself."""
    troubles: list[str] = []
    contexts = []

    def open_page(*runs: LoadedRun, **options: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_bytes(report(runs).encode())
        context = browser.new_context(accept_downloads=True, permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", refused)
        page.on("request", lambda request: asked(request.url))
        page.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready=yes]")
        return page

    def refused(dialog: Any) -> None:
        troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def asked(url: str) -> None:
        if not url.startswith(("data:", "blob:")) and url != (tmp_path / "report.html").as_uri():
            troubles.append(f"request: {url}")

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def swept(measured: Measured) -> LoadedRun:
    document = measured("4,64/255", targeted=("none", "next"))
    return run(document, example_images=gallery(document) + gallery(document, "next"))


def numbers(page: Page) -> dict[tuple[str, str], str]:
    """Text of each number on the page, by where it says that it stands and as what."""
    script = "all => all.map(one => [one.dataset.at, one.dataset.as, one.textContent.trim()])"
    return {(at, kind): text for at, kind, text in page.eval_on_selector_all("[data-at]", script)}


def value(documents: list[dict[str, Any]], pointer: str) -> Any:
    found: Any = documents
    for key in pointer.split("/"):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def rates(found: Any, where: str) -> Iterator[str]:
    """Where the rates of a document stand."""
    if isinstance(found, dict) and {"value", "count", "n", "low", "high"} == set(found):
        yield where
    elif isinstance(found, dict | list):
        for key, below in found.items() if isinstance(found, dict) else enumerate(found):
            yield from rates(below, f"{where}/{key}")


def matrices_of(document: dict[str, Any]) -> Iterator[str]:
    """Where the matrices of a sweep stand."""
    for place, found in enumerate(document["evaluations"]):
        yield f"0/evaluations/{place}/clean/confusion"
        for index, at in enumerate(found["epsilons"]):
            for side in ("", "stable/") if "stable" in at else ("",):
                where = f"0/evaluations/{place}/epsilons/{index}/{side}"
                yield from (f"{where}confusion", f"{where}transition")


def check(page: Page, documents: list[dict[str, Any]]) -> set[str]:
    """Compare every number on the page with the documents; returns where they stand."""
    found = numbers(page)
    for (where, kind), text in found.items():
        number = value(documents, where)
        if kind == "rate":
            assert text == rate_text(number), where
        elif kind == "count":
            assert text == f"{number:,}", where
        else:
            total = sum(value(documents, where.rpartition("/")[0]))
            assert text == ("n/a" if not total else f"{100 * number / total:.1f}" if number else "0"), where
    return {where for where, _ in found}


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait at most five seconds; the page's policy forbids `wait_for_function`."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    pytest.fail("not within five seconds")


def choose(page: Page, name: str, choice: str) -> None:
    page.check(f'input[name="{name}"][value="{choice}"]')


def test_numbers_match_the_document(opened: Callable[..., Page], measured: Measured) -> None:
    document = json.loads(json.dumps(measured("4,64/255", scale=300.0, targeted=("none", "next"))))
    page, seen = opened(run(document)), set()
    for subject in range(2):
        page.select_option("#subject", str(subject))
        for epsilon in range(2):
            page.fill("#epsilon", str(epsilon))
            for stable in (False, True):
                if stable and not page.is_visible("#stable"):
                    continue
                if page.is_visible("#stable"):
                    page.set_checked("#stable", stable)
                for kind in ("clean", "confusion", "transition"):
                    choose(page, "matrix-kind", kind)
                    for cells in ("shares", "counts"):
                        choose(page, "matrix-cells", cells)
                        seen |= check(page, [document])
    left_out = set(rates(document, "0")) - seen
    assert all(where.endswith("/accuracy_drop") for where in left_out)  # the column repeats another one
    for where in left_out:
        assert value([document], where) == value([document], where.replace("accuracy_drop", "attack_success_rate"))
    matrices = {"/".join(where.split("/")[:-2]) for where in seen if "confusion/" in where or "transition/" in where}
    assert matrices == set(matrices_of(document))
    assert {"stable" in where for where in matrices} == {True, False}


def test_a_comparison_shows_agreement_and_diagnosis(opened: Callable[..., Page]) -> None:
    classifier, data = drawn(1.0)

    def wrong(model: Any, x: Any, y: Any, epsilon: float) -> Any:
        return rf.fgsm(model, x, y, epsilon * 2)

    document = json.loads(json.dumps(rf.compare(classifier, data, references=[], candidate=wrong).to_dict()))
    page = opened(run(document))
    check(page, [document])
    assert page.inner_text(".verdict") == "DISAGREE"
    assert document["candidate"]["diagnosis"][0]["cause"] in page.inner_text(".finding")
    assert page.locator('input[value="transition"]').count() == 0


def test_the_slider_moves_everything_together(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    page.focus("#epsilon")
    parts = ("#matrix", "#class-table", "#gallery", ".tiles:visible")
    page.keyboard.press("Home")
    before = [page.inner_text(part) for part in parts]
    line = page.get_attribute("#curves-robust_accuracy .wide .now", "x1")
    page.keyboard.press("ArrowRight")
    assert all(page.inner_text(part) != text for part, text in zip(parts, before, strict=True))
    assert page.get_attribute("#curves-robust_accuracy .wide .now", "x1") != line
    assert page.get_attribute("#epsilon", "aria-valuetext") == "64/255"
    assert {text.split()[-1] for text in page.locator("[data-now]").all_inner_texts()} == {"64/255"}
    assert "64/255" in page.inner_text("#status")
    assert page.evaluate("document.activeElement.id") == "epsilon"


def test_bars_and_curves_match_the_rates(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    script = "all => all.map(one => [one.querySelector('.fill').width.baseVal.value, Number(one.dataset.value)])"
    bars = page.eval_on_selector_all("#class-table .bar", script)
    at = swept.document["evaluations"][0]["epsilons"][1]
    present = [result["robust_accuracy"]["value"] for result in at["per_class"] if result["robust_accuracy"]["n"]]
    assert [share for _, share in bars] == sorted(present)
    assert all(width == pytest.approx(200 * share) for width, share in bars)
    (mean,) = set(page.eval_on_selector_all("#class-table .mean", "all => all.map(one => one.getBBox().x)"))
    assert mean == pytest.approx(200 * at["robust_accuracy"]["value"])
    script = "all => all.map(one => one.getAttribute('points').split(' ').map(point => Number(point.split(',')[1])))"
    curves = page.eval_on_selector_all("#curves-robust_accuracy .wide polyline", script)
    for heights, found in zip(curves, swept.document["evaluations"], strict=True):
        shares = [found["clean"]["accuracy"]["value"], *(at["robust_accuracy"]["value"] for at in found["epsilons"])]
        height = SIZES[0][1] - TOP - BOTTOM
        assert heights == pytest.approx([TOP + height * (1 - share) for share in shares], abs=0.01)


def test_cells_are_interactive(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    first = swept.document["evaluations"][0]
    names, matrix = first["data"]["classes"], first["epsilons"][1]["confusion"]
    page.hover('td[data-row="2"][data-column="3"]')
    assert page.inner_text("#matrix .line").startswith(f"label {names[2]}, prediction after {names[3]}: {matrix[2][3]} images")
    page.focus('#matrix td[tabindex="0"]')
    row, column = next((row, column) for row in range(10) for column in range(10) if row != column and matrix[row][column])
    page.keyboard.press("Home")
    for _ in range(row):
        page.keyboard.press("ArrowDown")
    for _ in range(column):
        page.keyboard.press("ArrowRight")
    assert f"label {names[row]}, prediction after {names[column]}" in page.inner_text("#matrix .line")
    page.keyboard.press("Enter")
    assert f"label {names[row]}, prediction after {names[column]}" in page.inner_text("#gallery-what")
    assert page.locator("#gallery li").count() == 1
    assert page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.column]") == [str(row), str(column)]
    loaded = page.eval_on_selector_all("#gallery img", "all => all.map(one => one.naturalWidth)")
    assert loaded == [6, 6, 6]
    page.click("text=Back to the matrix")
    assert page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.column]") == [str(row), str(column)]
    top = "document.activeElement.getBoundingClientRect().top / innerHeight"
    wait_until(page, lambda: 0 <= page.evaluate(top) < 1)
    page.click("text=Show all cells")
    assert page.locator("#gallery li").count() > 1


def test_ranks_runs_with_paired_differences(opened: Callable[..., Page], rivals: list[LoadedRun]) -> None:
    page = opened(*rivals)
    check(page, [found.document for found in rivals])
    pairs, reasons = paired_differences(rivals)
    assert reasons == []
    for epsilon in range(2):
        page.fill("#epsilon", str(epsilon))
        rows = page.eval_on_selector_all(
            ".ranking:not([hidden]) tbody tr", "all => all.map(one => one.innerText.split('\\t').map(text => text.trim()))"
        )
        values = [found.document["epsilons"][epsilon]["robust_accuracy"] for found in rivals]
        order = sorted(range(3), key=lambda place: -values[place]["value"])
        assert [row[0] for row in rows] == [f"{rivals[place].name}, untargeted" for place in order]
        assert [row[1] for row in rows] == [rate_text(values[place]) for place in order]
        for place, row in zip(order, rows, strict=True):
            found = [pair for pair in pairs if pair["run"] == place]
            ends = () if place == 0 else tuple(100 * found[epsilon][key] for key in ("value", "low", "high"))
            assert row[-1] == ("{:+.1f} [{:+.1f}, {:+.1f}]".format(*ends) if ends else "first")
    with page.expect_download() as download:
        page.click('[data-save="ranking.csv"]')
    saved = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert [float(row["robust_accuracy"]) for row in saved] == [values[place]["value"] for place in order]
    assert opened(rivals[0]).locator(".ranking").count() == 0


def test_table_sorts(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    per_class = swept.document["evaluations"][0]["epsilons"][1]["per_class"]
    head = '#class-table th[data-column="robust_accuracy"]'
    assert page.get_attribute(head, "aria-sort") == "ascending"
    page.click(f"{head} button")
    assert page.get_attribute(head, "aria-sort") == "descending"
    assert page.get_attribute('#class-table th[data-column="name"]', "aria-sort") is None
    rows = page.eval_on_selector_all("#class-table tbody tr", "all => all.map(one => Number(one.dataset.label))")
    values = [per_class[label]["robust_accuracy"]["value"] for label in rows]
    present = [one for one in values if one is not None]
    assert present == sorted(present, reverse=True)
    assert values[: len(present)] == present


def test_downloads_hold_the_document(opened: Callable[..., Page], measured: Measured) -> None:
    document = json.loads(json.dumps(hostile(measured("4,64/255", targeted=("none", "next")))))
    page = opened(run(document))

    def saved(name: str) -> str:
        with page.expect_download() as waiting:
            page.click(f'[data-save="{name}"]')
        return Path(waiting.value.path()).read_text(encoding="utf-8")

    assert json.loads(saved("result.json")) == printable_document(document)
    at = document["evaluations"][0]["epsilons"][1]
    rows = list(csv.reader(io.StringIO(saved("per_class.csv"))))
    by_label = {int(row[0]): row for row in rows[1:]}
    assert by_label[3][1] == f"'{FORMULA}"
    for result in at["per_class"]:
        share = result["robust_accuracy"]["value"]
        assert int(by_label[result["label"]][2]) == result["n"]
        assert by_label[result["label"]][4] == ("" if share is None else f"{share:g}" if share in (0, 1) else str(share))
    rows = list(csv.reader(io.StringIO(saved("confusion.csv"))))
    assert rows[0][4] == f"'{FORMULA}"
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == at["confusion"]
    found = json.loads(saved("rates.json"))
    assert [row["robust_accuracy"] for row in found] == [
        place["robust_accuracy"]["value"] for one in document["evaluations"] for place in one["epsilons"]
    ]


def test_hostile_names_are_text(opened: Callable[..., Page], measured: Measured) -> None:
    document = hostile(measured("4,64/255", targeted=("none", "next")))
    page = opened(run(document, name=HOSTILE, example_images=gallery(document)))
    shown = page.locator("#class-table tbody th").all_text_contents()
    assert {HOSTILE, TEMPLATE, printable(TURNED), FORMULA} <= set(shown)
    assert page.locator("#matrix thead th span").all_text_contents()[:2] == [HOSTILE, TEMPLATE]
    assert HOSTILE in page.inner_text("header")
    assert page.locator("img:not([src^='data:'])").count() == 0


@pytest.fixture(scope="module")
def kinds(rivals: list[LoadedRun], measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[LoadedRun]]:
    """Runs for a page of each kind."""
    one, swept = measured(), measured("4,64/255", targeted=("none", "next"), distance=True)
    better, worse = (found.directory for found in (rivals[0], rivals[2]))
    assert better is not None
    assert worse is not None
    classifier, data = drawn(1.0)
    saved = tmp_path_factory.mktemp("attack") / "saved"
    rf.save_adversarial(classifier, data, saved, format="png")
    others = {
        "comparison": rf.compare(classifier, data, references=["art"]),
        "attack check": rf.check_adversarial(saved, classifier, data),
        "benchmark": rf.benchmark(classifier, data, "8/255", references=[], rounds=1, memory=False),
        "explanation": rf.explain(classifier, data, "0.4"),
        "gate plan": rf.plan_gate(better),
        "lock": rf.lock(better, saved.parent / "robustness.lock"),
    }
    return {name: [run(json.loads(json.dumps(found.to_dict())))] for name, found in others.items()} | {
        "attack": [load_run(saved)],
        "one epsilon": [run(one, example_images=gallery(one))],
        "sweep": [run(swept, example_images=gallery(swept))],
        "three runs": rivals,
        "multi-label": [run(json.loads(json.dumps(multi_label())))],
        "transfer": [run(crossed())],
        "training": [run(taught())],
        "verification": [run(verification(direction=THRESHOLD))],
        "gate": [run(json.loads(json.dumps(rf.gate(worse, better).to_dict())))],
    }


KINDS = (
    *("one epsilon", "sweep", "three runs", "multi-label", "transfer", "training", "verification", "gate"),
    *("gate plan", "explanation", "attack", "comparison", "attack check", "benchmark", "lock"),
)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_on_the_first_screen(
    opened: Callable[..., Page], kinds: dict[str, list[LoadedRun]], kind: str, width: int, scheme: str, script: bool
) -> None:
    size = {"width": width, "height": 800}
    page = opened(*kinds[kind], viewport=size, color_scheme=scheme, java_script_enabled=script)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    answer = page.locator("#result .tiles:visible, #result .ranking:visible, #result .notice:visible").first.bounding_box()
    assert answer["y"] >= 0
    assert answer["y"] + answer["height"] <= 800
    assert page.locator(".chart svg:visible").count() >= {"sweep": 2, "three runs": 1, "transfer": 1, "training": 1}.get(kind, 0)
    if kind in ("one epsilon", "sweep", "three runs", "transfer"):
        assert page.locator("table.matrix td:visible").count() >= 4
    if script:
        assert accessibility_faults(page) == []


def accessibility_faults(page: Page) -> list[str]:
    """Return what axe-core objects to."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{fault['id']}: {node['html']}" for fault in found["violations"] for node in fault["nodes"]]


def multi_label() -> dict[str, Any]:
    """Return an evaluation of a network with five labels for each image."""
    generator = torch.Generator().manual_seed(0)
    names = tuple("abcde")
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 5))
    labels = (torch.rand(60, 5, generator=generator) > 0.5).long()
    images = torch.rand(60, 1, 6, 6, generator=generator)
    data = rf.ArrayDataset("drawn", images, labels, names, task="multilabel")
    return rf.evaluate(rf.wrap(network, 5, classes=names, device="cpu", task="multilabel"), data).to_dict()


def test_bars_of_labels_have_the_mean_of_labels(opened: Callable[..., Page], kinds: dict[str, list[LoadedRun]]) -> None:
    page = opened(*kinds["multi-label"])
    share = kinds["multi-label"][0].document["epsilons"][0]["labels"]["accuracy"]["value"]
    (mean,) = set(page.eval_on_selector_all("#class-table .mean", "all => all.map(one => one.getBBox().x)"))
    assert mean == pytest.approx(200 * share)


def test_saved_images_have_pictures(opened: Callable[..., Page], kinds: dict[str, list[LoadedRun]]) -> None:
    page = opened(*kinds["attack"])
    loaded = page.eval_on_selector_all("#gallery img", "all => all.map(one => one.naturalWidth)")
    assert len(loaded) == 3 * page.locator("#gallery li").count() > 0
    assert set(loaded) == {6}


def test_one_epsilon_has_no_slider_and_no_curve(opened: Callable[..., Page], kinds: dict[str, list[LoadedRun]]) -> None:
    page = opened(*kinds["one epsilon"])
    assert page.locator("input[type=range], .chart").count() == 0


def test_examples_begin_with_fooled_images(opened: Callable[..., Page], measured: Measured) -> None:
    document = measured("64/255")
    page = opened(run(document, example_images=gallery(document)))
    script = "all => all.map(one => one.innerText.match(/before: (.*) [0-9.]+ %[^]*after: (.*) [0-9.]+ %/).slice(1))"
    kept = [before == after for before, after in page.eval_on_selector_all("#gallery li", script)]
    assert kept == sorted(kept)
    assert not kept[0]


def test_a_legend_hides_its_line(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    chart = page.locator("#curves-robust_accuracy")
    lines = chart.locator(".wide polyline")
    assert [line.is_visible() for line in lines.all()] == [True, True]
    button = chart.locator(".legend button").first
    for shown in (False, True):
        button.click()
        assert button.get_attribute("aria-pressed") == str(shown).lower()
        assert [line.is_visible() for line in lines.all()] == [shown, True]


def test_a_tooltip_follows_the_pointer(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    drawing = page.locator("#curves-robust_accuracy .wide")
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    places = []
    for share, index in ((0.12, 0), (0.9, 1)):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        rates = [found["epsilons"][index]["robust_accuracy"] for found in swept.document["evaluations"]]
        text = page.inner_text("#tip")
        assert all(rate_text(rate) in text for rate in rates)
        places.append(page.locator("#tip").bounding_box()["x"])
    assert places[0] < places[1]
    page.mouse.move(1, 1)
    assert not page.is_visible("#tip")


def test_copies_commands_and_tables(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    page.click('[data-copied="the command"]')
    wait_until(page, lambda: page.locator("text=Copied").count() > 0)
    command = page.inner_text("[data-copy]")
    assert page.evaluate("navigator.clipboard.readText()") == command
    assert command.startswith("rfgsm sweep")
    page.click('[data-copied="rates as CSV"]')
    wait_until(page, lambda: page.evaluate("navigator.clipboard.readText()").startswith("attack,"))
    rows = list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    rates = [at["robust_accuracy"] for found in swept.document["evaluations"] for at in found["epsilons"]]
    assert [float(row["robust_accuracy_low"]) for row in rows] == [rate["low"] for rate in rates]


def test_contents_lead_to_every_section(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept)
    links = page.eval_on_selector_all("nav a", "all => all.map(one => one.getAttribute('href').slice(1))")
    sections = page.eval_on_selector_all("main > section", "all => all.map(one => one.id)")
    assert links == sections


def test_the_first_column_stays(opened: Callable[..., Page], swept: LoadedRun) -> None:
    page = opened(swept, viewport={"width": 400, "height": 800})
    page.evaluate("document.querySelector('#rates .scroll').scrollLeft = 300")
    first = page.locator("#rates tbody th").first.bounding_box()
    assert first["x"] == pytest.approx(page.locator("#rates .scroll").bounding_box()["x"])


def test_policy_blocks_a_planted_script(browser: Any, measured: Measured, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    planted = '<script>document.title = "harmed"</script><p onclick="x">planted</p></main>'
    file.write_bytes(report([run(measured())]).replace("</main>", planted).encode())
    with browser.new_context() as context:
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        assert page.title().startswith("FGSM report")
    assert any("Content Security Policy" in text for text in said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_telephone_in_both_schemes(opened: Callable[..., Page], swept: LoadedRun, scheme: str) -> None:
    page = opened(swept, viewport={"width": 400, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 300
    assert min(ratios) >= 4.5


CONTRASTS = """() => {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1); brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const paper = (one) => {
    for (let place = one; place; place = place.parentElement) {
      const found = rgba(getComputedStyle(place).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const light = (colour) => colour.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  return [...document.querySelectorAll("body *")].filter((one) => own(one) && one.checkVisibility() && !one.closest("svg, script"))
    .map((one) => [light(rgba(getComputedStyle(one).color)), light(paper(one))].sort((a, b) => b - a))
    .map(([high, low]) => (high + 0.05) / (low + 0.05));
}"""


BROKEN_WORDS = """() => {
  dispatchEvent(new Event("beforeprint"));
  const broken = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode;
    if (!node.parentElement.checkVisibility() || node.parentElement.closest("script, code, svg, .unseen, .skip")) continue;
    for (const word of node.textContent.matchAll(/[A-Za-z]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""


def test_it_prints_without_controls_on_white(opened: Callable[..., Page], swept: LoadedRun, tmp_path: Path) -> None:
    page = opened(swept, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 688, "height": 970})  # A4 within its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 688
    assert not page.is_visible("#controls")
    assert page.is_visible("#matrix table")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(BROKEN_WORDS) == []
    notes = page.locator("#caveats li")
    assert notes.count() > 1
    assert all(note.is_visible() for note in notes.all())
    assert page.pdf(path=tmp_path / "report.pdf").startswith(b"%PDF")


def test_a_thousand_classes(opened: Callable[..., Page], measured: Measured) -> None:
    document = wide(measured())
    page = opened(run(document))
    canvas = page.locator("#matrix canvas")
    assert int(canvas.get_attribute("width") or 0) == 1000
    canvas.scroll_into_view_if_needed()
    canvas.hover(position={"x": 5, "y": 5})
    assert "class number" in page.inner_text("#matrix .line")
    assert page.locator("#class-table tbody tr").count() == 100
    page.fill("#filter", "number 99")
    assert page.locator("#class-table tbody tr").count() == 11
    page.focus("#epsilon")
    page.keyboard.press("Home")
    assert "1/255" in page.inner_text("#status")
    check(page, [json.loads(json.dumps(document))])


def within(document: dict[str, Any], page: Page) -> set[str]:
    """Compare every number of a page of one document with it; returns where they stand."""
    found = numbers(page)
    for (where, kind), text in found.items():
        number = value([document], f"0/{where}")
        assert text == (rate_text(number) if kind == "rate" else f"{number:,}"), where
    return {where for where, _ in found}


def test_a_transfer_matches_its_document(opened: Callable[..., Page]) -> None:
    document = crossed()
    document["models"][0]["spec"] = "factory:/somewhere/in-a-folder/with-a-long-name/models.py:make_the_model"
    page, seen = opened(run(document), viewport={"width": 400, "height": 800}), set()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.set_viewport_size({"width": 1280, "height": 900})
    page.focus("#epsilon")
    page.keyboard.press("Home")
    parts = ("#matrices", "#class-table")
    before, line = [page.inner_text(part) for part in parts], page.get_attribute("[data-cell-chart]:not([hidden]) .wide .now", "x1")
    page.keyboard.press("ArrowRight")
    assert all(page.inner_text(part) != text for part, text in zip(parts, before, strict=True))
    assert page.get_attribute("[data-cell-chart]:not([hidden]) .wide .now", "x1") != line
    assert page.get_attribute("#epsilon", "aria-valuetext") == "64/255"
    assert "64/255" in page.inner_text("#status")
    for epsilon in range(2):
        page.fill("#epsilon", str(epsilon))
        for cell in range(4):
            page.select_option("#cell", str(cell))
            seen |= within(document, page)
    assert {where.removeprefix("0/") for where in rates(document, "0")} <= seen
    page.focus('[data-matrix="robust_accuracy"] td[tabindex="0"]')
    for key in ("Home", "ArrowUp", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.dataset.cell") == "1"
    assert page.input_value("#cell") == "1"
    assert "n=60" in page.inner_text("#line")
    with page.expect_download() as download:
        page.click('[data-save="pairs.csv"]')
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert [float(row["robust_accuracy"]) for row in rows] == [
        at["robust_accuracy"]["value"] for cell in document["cells"] for at in cell["epsilons"]
    ]


def test_a_training_marks_overfitting(opened: Callable[..., Page]) -> None:
    document = taught()
    page = opened(run(document), viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    found = within(document, page)
    assert {where.removeprefix("0/") for where in rates(document["checks"], "0/checks")} <= found
    assert "Catastrophic overfitting in epoch 2, quarter 1." in page.inner_text("main")
    assert page.locator('[data-table="checks"] tr', has_text="kept").locator("td").nth(2).inner_text() == "12"
    ends = page.eval_on_selector_all("#curves .narrow [data-moment] line", "all => all.map(one => Number(one.getAttribute('x1')))")
    width = SIZES[1][0] - LEFT - RIGHT
    assert ends == pytest.approx([LEFT + width * moment / 2 for moment in (1.0, 1.25)])
    with page.expect_download() as download:
        page.click('[data-save="result.json"]')
    assert json.loads(download.value.path().read_text(encoding="utf-8")) == document


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_transfer_and_training_have_contrast(opened: Callable[..., Page], scheme: str) -> None:
    for document in (crossed(), taught()):
        page = opened(run(document), color_scheme=scheme)
        assert min(page.evaluate(CONTRASTS)) >= 4.5


def test_transfer_shows_hostile_names_as_text(opened: Callable[..., Page]) -> None:
    document = crossed()
    document["models"][0]["spec"], document["data"]["spec"] = HOSTILE, TEMPLATE
    document["warnings"] = [HOSTILE]
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            at["per_class"][0]["name"] = HOSTILE
    page = opened(run(document, name=HOSTILE))
    assert page.locator("#class-table tbody th").all_text_contents()[0] == HOSTILE
    assert f"{HOSTILE} (given)" in page.locator("#matrices thead th").all_text_contents()
    assert page.locator("img").count() == 0


def test_transfer_of_a_thousand_classes(opened: Callable[..., Page]) -> None:
    document = crossed()
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            (first, *_) = at["per_class"]
            names = [f"class number {label}" for label in range(1000)]
            at["per_class"] = [first | {"label": label, "name": name} for label, name in enumerate(names)]
            at["per_class"][990] |= {"robust_accuracy": {"value": 0.0, "count": 0, "n": 5, "low": 0.0, "high": 0.43}}
    page = opened(run(document))
    assert page.locator("#class-table tbody tr").count() == 100
    within(document, page)
    assert "The 100 least robust of 1,000 classes" in page.inner_text("#pair")
    with page.expect_download() as download:
        page.click('[data-save="per_class.csv"]')
    assert len(list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))) == 1000
