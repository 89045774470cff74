"""The figure draws the document's numbers and leaves matplotlib as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.report.figures.curves import draw_accuracy_over_epsilon, encode_figure, figure_format

Measured = Callable[..., dict[str, Any]]


def test_one_line_for_each_rule(measured: Measured) -> None:
    document = measured("64,4/255", targeted=("none", "next"))
    (axes,) = draw_accuracy_over_epsilon({"": document}).axes
    assert [line.get_label() for line in axes.lines] == ["untargeted", "targeted next"]
    assert len(axes.collections) == 2
    for line, found in zip(axes.lines, document["evaluations"], strict=True):
        clean, (high, low) = found["clean"]["accuracy"], found["epsilons"]
        np.testing.assert_array_equal(line.get_xdata(), [0, 4 / 255, 64 / 255])
        rates = [clean["value"], low["robust_accuracy"]["value"], high["robust_accuracy"]["value"]]
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [100 * rate for rate in rates])


def test_a_stable_curve_that_equals_the_ordinary_one_is_left_out(measured: Measured) -> None:
    document = measured("0.1,0.3", scale=300)
    for at in document["evaluations"][0]["epsilons"]:
        at["stable"] = at | {"stable": None}
    (axes,) = draw_accuracy_over_epsilon({"": document}).axes
    assert len(axes.lines) == 1
    assert axes.get_legend() is None


def test_stable_gradients_are_dashed(measured: Measured) -> None:
    (axes,) = draw_accuracy_over_epsilon({"": measured("0.1,0.3", scale=300)}).axes
    ordinary, stable = axes.lines
    assert (ordinary.get_linestyle(), stable.get_linestyle()) == ("-", "--")
    assert ordinary.get_color() == stable.get_color()


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_formats(measured: Measured, kind: str, start: bytes) -> None:
    document = measured("4,64/255", targeted=("none", "next"))
    document["evaluations"][0]["model"]["spec"] = "$\\bad$ & <b>"  # is no formula
    assert encode_figure(draw_accuracy_over_epsilon({"": document}), kind).startswith(start)


def test_needs_no_display_or_global_settings(measured: Measured) -> None:
    before = dict(mpl.rcParams)
    encode_figure(draw_accuracy_over_epsilon({"": measured("4,64/255")}), "png")
    assert dict(mpl.rcParams) == before
    code = "import sys, robustbench_fgsm.report.figures.curves; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ["curve.PNG", "a/b.svg", "x.pdf"])
def test_name_gives_the_format(name: str) -> None:
    assert figure_format(Path(name)) in {"png", "svg", "pdf"}


@pytest.mark.parametrize("name", ["curve", "curve.jpg", ".png"])
def test_another_format_is_refused(name: str) -> None:
    with pytest.raises(rf.SettingError, match=r"ends in .png, .svg or .pdf"):
        figure_format(Path(name))


def test_distances_have_a_line_of_their_own(measured: Callable[..., dict[str, Any]]) -> None:
    drawn = [draw_accuracy_over_epsilon({"": measured("1,8/255", distance=flag)}).axes[0] for flag in (False, True)]
    assert len(drawn[1].lines) == len(drawn[0].lines) + 1
    assert len(drawn[1].collections) == len(drawn[0].collections)


def test_several_runs_share_one_figure(measured: Measured) -> None:
    runs = {"first": measured("1,8/255"), "second": measured("4/255")}
    (axes,) = draw_accuracy_over_epsilon(runs).axes
    assert [str(line.get_label()) for line in axes.lines if not str(line.get_label()).startswith("_")] == ["first", "second"]
    other = measured("4/255")
    other["attack"] |= {"norm": "2"}
    with pytest.raises(rf.SettingError, match=r"norm inf.*norm 2.*\(other\): draw a figure for each"):
        draw_accuracy_over_epsilon({"first": runs["first"], "other": other})
