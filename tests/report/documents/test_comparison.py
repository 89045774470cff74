"""A rendered comparison is readable at 80 columns, and says no more than the document does."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.report.tables.sheet import matrix_sheet
from robustbench_fgsm.report.tables.text import rate_text
from tests.report.printed import printed, unwrapped

Document = dict[str, Any]


@pytest.fixture(scope="module")
def measured(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> Document:
    return rf.compare(classifier, images).to_dict()


@pytest.fixture
def document(measured: Document) -> Document:
    """A comparison of the bundled mlp300 on 256 images, to be changed at will."""
    return copy.deepcopy(measured)


def with_large_counts(document: Document) -> Document:
    """As wide as ten thousand images make it: four digits in each cell, 100 % with an interval in each rate."""
    rate = {"value": 1.0, "count": 10_000, "n": 10_000, "low": 0.9996, "high": 1.0}
    for side in (document["ours"], *document["references"]):
        side["clean_confusion"] = side["confusion"] = [[1000] * 10] * 10
        for name in ("clean_accuracy", "robust_accuracy", "attack_success_rate"):
            side[name] = rate
        side["seconds"] = {"attack": 1234.5, "job": 2345.6}
        for result in side["per_class"]:
            result["attack_success_rate"] = rate | {"n": 1000}
    return document


@pytest.mark.parametrize("width", [80, 120])
def test_fits_the_terminal_without_cuts(document: Document, width: int) -> None:
    for shown in (document, with_large_counts(copy.deepcopy(document))):
        text = printed(shown, width)
        assert max(len(line) for line in text.splitlines()) <= width
        assert "…" not in text


def test_every_class_is_in_each_table(document: Document) -> None:
    text = printed(document)
    for label, name in enumerate(document["data"]["classes"]):
        assert len(re.findall(rf"^{label} {name} ", text, re.MULTILINE)) == 3


def test_matrix_rows_are_its_counts(document: Document) -> None:
    matrix = document["ours"]["confusion"]
    lines = printed(matrix_sheet("after", "After", matrix, document["data"]["classes"])).splitlines()
    rows = [[int(count) for count in line.split()[-10:]] for line in lines[-10:]]
    assert rows == matrix


def crowded(document: Document) -> Document:
    """Ours beside six references, of long names and versions, with pixels and times of a large data set."""
    (art,) = document["references"]
    own = {"definition": "prediction after it differs from the label, over all images", "rate": art["robust_accuracy"]}
    document["references"] = [
        art
        | {"name": name, "version": version, "pixels": 10**10, "pixels_differing": 10**9, "max_ulps": 54321}
        | {"predictions_agree": 10_000, "discordant": {"ours_only": 10_000, "theirs_only": 10_000}, "speedup": 123.456}
        | {"own_success": own if name == "foolbox" else art["own_success"] if name == "art" else None}
        for name, version in (
            ("art", "1.20.1"),
            ("foolbox", "3.3.4"),
            ("torchattacks", "3.5.1"),
            ("cleverhans", "4.0.0"),
            ("adversarial-lib", "2026.10.1"),
            ("another", "1"),
        )
    ]
    return with_large_counts(document)


def table_under(title: str, text: str) -> list[str]:
    """The lines below a title and its rule, up to the first that is blank or a sentence."""
    _, _, rest = text.partition(title)
    lines = rest.splitlines()
    rule = next(index for index, line in enumerate(lines) if line.startswith("──"))
    ended = (index for index, line in enumerate(lines) if index > rule and (not line.strip() or line.startswith("Own ")))
    return lines[rule + 1 : next(ended)]


def test_many_references_fit_80_columns_whole(document: Document) -> None:
    text = printed(crowded(document))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    for line in table_under("Agreement with ours", text):
        assert line.split()[2:] == ["1,000,000,000", "54,321", "10,000", "10,000", "10,000"]
    rows = table_under("In per cent of 256 images", text)
    assert [line.split()[0] for line in rows[::2]] == ["ours", *(side["name"] for side in document["references"])]
    assert all(line.split()[-2:] == ["1234.50", "2345.60"] for line in rows[::2])
    assert all(line.endswith(" 123.46x") for line in map(str.rstrip, rows[3::2]))
    assert "x" not in rows[1]


def test_lists_the_least_robust_classes(document: Document) -> None:
    ours = document["ours"]["per_class"]
    for side in (document["ours"], *document["references"]):
        empty = {"n": 0, "robust_accuracy": {"value": None, "count": 0, "n": 0, "low": None, "high": None}}
        more = [ours[label % 10] | {"label": label} | (empty if label % 2 else {}) for label in range(10, 100)]
        side["per_class"] = [*side["per_class"], *more]
    document["data"]["classes"] = [f"name{label}" for label in range(100)]
    text = printed(document)
    listed = table_under("Attack success by class", text)
    ranked = sorted((one for one in document["ours"]["per_class"] if one["n"]), key=lambda one: one["robust_accuracy"]["value"])
    assert "the 20 least robust (all with --json)" in unwrapped(document)
    assert [line.split()[0] for line in listed] == [str(one["label"]) for one in ranked[:20]]


def test_agreement_in_counts(document: Document) -> None:
    (art,) = document["references"]
    art |= {"pixels_differing": 12, "max_ulps": 3, "predictions_agree": 250}
    art["discordant"] = {"ours_only": 4, "theirs_only": 2}
    text = printed(document)
    assert "Agreement with ours, on 200,704 pixels of 256 images" in text
    (line,) = table_under("Agreement with ours", text)
    assert line.split() == ["art", art["version"], "12", "3", "250", "4", "2"]


def test_rates_with_interval_and_n(document: Document) -> None:
    text = printed(document)
    clean = document["ours"]["clean_accuracy"]
    assert f"Clean accuracy {rate_text(clean)} %, n=256." in text
    assert "In per cent of 256 images; attack success of those that can be fooled" in text
    rows = table_under("In per cent of 256 images", text)
    for row, below, side in zip(rows[::2], rows[1::2], (document["ours"], *document["references"]), strict=True):
        success = side["attack_success_rate"]
        rates = [side["robust_accuracy"], success]
        own = [side["own_success"]["rate"]] if side.get("own_success") else []
        values = [f"{100 * rate['value']:.1f}" for rate in rates + own]
        assert row.split()[1:-2] == [*values[:2], str(success["n"]), *values[2:]]
        intervals = [f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}" for rate in rates + own]
        ratio = [f"{side['speedup']:.2f}x"] if "speedup" in side else []
        assert below.split()[-len(intervals + ratio) :] == intervals + ratio


def test_own_success_is_defined(document: Document) -> None:
    text = unwrapped(document)
    assert "Own success: art: prediction changed, over all images (n=256)." in text
    assert "torchattacks, cleverhans, adversarial-lib, another: none defined." in unwrapped(crowded(document))


def test_names_nonfinite_pixels(document: Document) -> None:
    document["references"][0] |= {"pixels_differing": 1, "max_abs_difference": None}
    assert "1 of 200,704 pixels differ (some are not finite), 0 explained" in unwrapped(document)


def test_model_data_and_attack_are_named(document: Document) -> None:
    text = printed(document)
    assert text.startswith("mlp300 (standard) on 256 images of fashion-mnist\n")
    assert "FGSM, norm inf, epsilon 8/255, targeted none\n" in text


def test_names_the_worst_class(document: Document) -> None:
    worst = min(document["ours"]["per_class"], key=lambda result: result["robust_accuracy"]["value"])
    expected = f"Worst class: {worst['name']}, robust accuracy {rate_text(worst['robust_accuracy'])} %, n={worst['n']}."
    assert expected in printed(document)
    assert re.search(r"By chance alone the lowest of \d+ equal classes has [\d.]+ \[[\d., ]+\] %\.", unwrapped(document))


def test_agreement_with_its_counts(document: Document) -> None:
    text = unwrapped(document)
    (reference,) = document["references"]
    expected = "0 of 200,704 pixels differ; 256 of 256 predictions agree."
    assert text.count(f"AGREE: ours and art {reference['version']}: {expected}") == 1
    assert text.count("Intervals: 95 % Wilson") == 1


def test_disagreement_with_its_reasons(document: Document) -> None:
    (reference,) = document["references"]
    reference |= {
        "verdict": "disagree",
        "pixels_differing": 12,
        "pixels_explained": 3,
        "pixels_tied": 2,
        "max_abs_difference": 0.0627,
        "predictions_agree": 250,
        "reasons": ["7 of 200,704 pixels differ by up to 0.0627, and rounding does not explain it"],
    }
    text = unwrapped(document)
    assert f"DISAGREE: ours and art {reference['version']}: 12 of 200,704 pixels differ" in text
    assert "(largest difference 0.063), 3 explained by rounding, 2 by ties; 250 of 256 predictions agree." in text
    assert reference["reasons"][0] in text


def test_shows_a_different_reference_matrix(document: Document) -> None:
    assert "Confusion after it (ours, art)" in printed(document)
    document["references"][0]["confusion"] = [[0] * 10] * 10
    text = printed(document)
    assert "Confusion after it (ours):" in text
    assert "Confusion after it (art):" in text


def test_shows_warnings_and_invalid_reasons(document: Document) -> None:
    document["warnings"], document["invalid_reasons"] = ["saturation"], ["no gradient was finite"]
    text = printed(document)
    assert "Warning: saturation\n" in text
    assert "INVALID: no gradient was finite\n" in text


def with_candidate(document: Document, **changes: Any) -> Document:
    """The document with a candidate that is like its reference, but for the changes."""
    like = copy.deepcopy(document["references"][0]) | {"name": "mine.py:fgsm", "version": "", "diagnosis": []}
    return document | {"candidate": like | changes}


def test_shows_a_candidate_beside_references(document: Document) -> None:
    text = printed(with_candidate(document))
    assert "Confusion after it (ours, art, mine.py:fgsm)" in text
    assert len(re.findall(r"^candidate  ", text, re.MULTILINE)) == 2
    assert "AGREE: ours and mine.py:fgsm: 0 of 200,704 pixels differ" in text


def test_an_untimed_or_failed_candidate(document: Document) -> None:
    untimed = {"speedup": None, "seconds": {"attack": 0, "job": 0}}
    text = printed(with_candidate(document, **untimed))
    assert re.search(r"^candidate .* n/a +n/a *$", text, re.MULTILINE)
    failed = with_candidate(document, pixels=0, verdict="disagree", reasons=["it raised"], **untimed)
    text = unwrapped(failed)
    assert "DISAGREE: ours and mine.py:fgsm: no images to compare. it raised" in text
    assert "Confusion after it (ours, art): " in text


def test_diagnosis_follows_the_verdict(document: Document) -> None:
    finding = {"cause": "wrong sign", "evidence": "12 pixels go down", "remedy": "Step along +sign."}
    text = unwrapped(with_candidate(document, diagnosis=[finding]))
    assert "wrong sign: 12 pixels go down. Step along +sign." in text


def test_a_long_candidate_name_fits(document: Document) -> None:
    name = "an_attack_with_a_very_long_name.py:and_a_function_with_another"
    for shown in (document, with_large_counts(document)):
        per_class = [
            result | {"attack_success_rate": result["attack_success_rate"] | {"value": 0.123}}
            for result in document["references"][0]["per_class"]
        ]
        text = printed(with_candidate(shown, name=name, confusion=[[0] * 10] * 10, per_class=per_class))
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text


def test_markup_in_names_stays_literal(document: Document) -> None:
    document["data"]["classes"][:3] = ["[red]", "[/red]x", ":smile:"]
    document["model"]["spec"], document["references"][0]["name"] = "[bold]net[/bold]", "[blue]"
    for result, name in zip(document["ours"]["per_class"], document["data"]["classes"], strict=True):
        result["name"] = name
    text = printed(document)
    assert text.startswith("[bold]net[/bold] (standard)")
    assert "\n[blue] " in text
    assert "(ours, [blue]): label down" in text
    for name in ("0 [red]", "1 [/red]x", "2 :smile:"):
        assert len(re.findall(f"^{re.escape(name)} ", text, re.MULTILINE)) == 3


def test_cuts_long_names_but_not_counts(document: Document) -> None:
    document["data"]["classes"] = [f"a class with a very long name, number {label}" for label in range(10)]
    text = printed(with_large_counts(document))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert all(line.count("1000") == 10 for line in text.splitlines() if re.match(r"\d a class .*…( +\d+)+ *$", line))
