"""Pages, tables and figures of transfers and trainings, without a browser."""

from __future__ import annotations

import html
import json
from typing import Any

import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.figures.gallery import draw_run
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.page import build_page, build_training_page, build_transfer_page, build_verification_page
from robustbench_fgsm.report.summarize import summarize
from tests.report.pages.test_evaluations import Elements, embedded
from tests.report.runs import HOSTILE, crossed, run, taught
from tests.report.verifications import THRESHOLD, verification


@pytest.mark.parametrize("make", [crossed, taught])
def test_page_is_complete_and_deterministic(make: object) -> None:
    document = crossed() if make is crossed else taught()
    text = build_page([run(document)])
    assert text == build_page([run(document)])
    assert embedded(text)["document"] == document
    found = Elements(text).found
    rules = next(attributes["content"] or "" for _, attributes in found if "http-equiv" in attributes)
    assert rules.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in rules
    sources = [attributes[name] or "" for _, attributes in found for name in ("src", "href") if name in attributes]
    assert all(source.startswith(("#", "data:")) for source in sources)
    assert not any(name.startswith("on") or name == "style" for _, attributes in found for name in attributes)


def test_problems_come_first() -> None:
    document = crossed() | {"invalid_reasons": ["2 images have a gradient that is not finite"], "warnings": ["masking"]}
    text = build_page([run(document)])
    places = [text.index(words) for words in ("not finite</bdi>", "masking</bdi>", "only 60 images", 'id="rates-title"')]
    assert places == sorted(places)


def test_rejects_several_runs() -> None:
    with pytest.raises(SettingError, match="a page is of one training alone"):
        build_page([run(taught()), run(crossed())])


def test_figures_of_transfer_and_training() -> None:
    transfer, training = LoadedRun("t", crossed()), LoadedRun("l", taught())
    assert len(draw_run(transfer, "transfer", epsilon=4 / 255).axes) == 2
    (axes,) = draw_run(training, "training").axes
    lines = [line for line in axes.get_lines() if len(np.asarray(line.get_xdata())) == 2]
    marks = {str(line.get_label()): np.asarray(line.get_xdata()).tolist() for line in lines}
    assert marks == {"weights kept": [1.0, 1.0], "catastrophic overfitting": [1.25, 1.25]}
    for found, kind, targeted, epsilon in (
        (training, "training", "next", None),
        (training, "training", None, 0.1),
        (transfer, "transfer", None, 0.5),
        (LoadedRun("e", {"schema": "rfgsm.evaluation/1"}), "transfer", None, None),
    ):
        with pytest.raises(SettingError):
            draw_run(found, kind, targeted, epsilon)


def test_no_held_out_images_no_curves() -> None:
    document = taught() | {"overfitting": None}
    document["recipe"]["held_out"] = 0
    for check in [*document["checks"], document["kept"]]:
        check |= {"clean": None, "fgsm": None, "pgd": None}
    text = build_page([run(document)])
    assert "No images were held out" in text
    assert 'id="curves"' not in text


def test_rows_remedies_and_verdict() -> None:
    text = build_verification_page(run(verification(direction=THRESHOLD)))
    assert '<p class="notice bad">WRONG: direction; 8 of 9 stages are right.</p>' in text
    assert '<td class="bad">WRONG</td>' in text
    assert "<td>gradient-threshold</td><td>take gradient.sign() without a threshold</td>" in text
    assert 'src="data:image/png;base64,' in text


def test_right_candidate_has_no_red() -> None:
    notes = [{"cause": "graph-attached", "evidence": "it requires a gradient", "remedy": "detach it"}]
    text = build_verification_page(run(verification(harmless=notes)))
    assert '<p class="notice good">RIGHT for images in [0, 1]' in text
    assert "<li>graph-attached: <bdi>it requires a gradient</bdi></li>" in text
    assert 'class="bad"' not in text


def test_limitations_are_listed() -> None:
    limits = [{"text": "no grey images", "remedy": "pass --image-shape 3x32x32"}]
    text = build_verification_page(run(verification(limitations=limits, verdict="incomplete", exit_code=1)))
    assert "<li><bdi>no grey images</bdi>: pass --image-shape 3x32x32</li>" in text


def test_verification_page_is_complete_and_deterministic() -> None:
    document = verification(direction=THRESHOLD)
    document["candidate"]["name"] = HOSTILE
    text = build_verification_page(run(document))
    assert text == build_verification_page(run(document))
    assert embedded(text)["document"] == document
    sources = [tags["src"] or "" for _, tags in Elements(text).found if "src" in tags]
    assert all(source.startswith("data:") for source in sources)


def test_command_repeats_it() -> None:
    assert "rfgsm verify mine.py:fgsm --style plain --strict" in build_verification_page(run(verification(strict=True)))


def test_overfitting_and_kept_weights_are_named() -> None:
    text = build_training_page(run(taught()))
    assert "Catastrophic overfitting in epoch 2, quarter 1." in text
    assert "Kept: the weights of epoch 1, quarter 4, the best accuracy under PGD-10." in text
    assert "The best of many checks on 40 held-out images flatters" in text


def test_few_held_out_images_warn() -> None:
    assert "only 40 held-out images: intervals are wide" in build_training_page(run(taught()))


def test_each_model_has_its_roles() -> None:
    document = crossed()
    assert build_transfer_page(run(document)).count("<td>source, target</td>") == len(document["models"])


def test_shows_common_success_only_if_counted() -> None:
    document = crossed()
    assert ">success at all<" in build_transfer_page(run(document))
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            at["common_success_rate"] = None
    assert ">success at all<" not in build_transfer_page(run(document))


@pytest.fixture(scope="module")
def gates(rivals: list[LoadedRun]) -> dict[str, dict[str, Any]]:
    """The documents of a gate that passes and of one that fails."""
    better, worse = (run.directory for run in (rivals[0], rivals[2]))
    assert better is not None
    assert worse is not None
    documents = [json.loads(json.dumps(found.to_dict())) for found in (rf.gate(better, worse), rf.gate(worse, better))]
    return {document["verdict"]: document for document in documents}


@pytest.mark.parametrize(("verdict", "tone"), [("passed", "good"), ("failed", "bad")])
def test_a_gate_has_its_verdict_and_its_tables(gates: dict[str, dict[str, Any]], verdict: str, tone: str) -> None:
    document = gates[verdict]
    text = build_page([run(document, "gate")])
    summary = summarize(document)
    assert f'{tone}">{html.escape(summary.verdict)}' in text
    assert embedded(text)["document"] == document
    for sheet in summary.sheets:
        assert text.count(html.escape(sheet.title)) >= 1
    assert text == build_page([run(document, "gate")])


def test_names_stay_text(gates: dict[str, dict[str, Any]]) -> None:
    document = json.loads(json.dumps(gates["passed"]))
    document["run"]["model"]["spec"] = HOSTILE
    assert HOSTILE not in build_page([run(document, HOSTILE)])
