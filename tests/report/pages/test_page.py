"""Pages, tables and figures of transfers and trainings, without a browser."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.figures.gallery import draw_run
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.page import build_page
from tests.report.pages.test_evaluations import Elements, embedded
from tests.report.runs import crossed, run, taught


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
