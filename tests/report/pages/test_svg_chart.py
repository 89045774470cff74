"""Charts of pages: places of points, bands and ticks, and names that stay text."""

from __future__ import annotations

import re

import pytest

from robustbench_fgsm.report.pages.svg_chart import SIZES, ChartLine, draw_chart, rate_line
from robustbench_fgsm.stats.rate import Rate

HALF, NONE = Rate(50, 100).to_dict(), Rate(0, 0).to_dict()


def drawn(lines: list[ChartLine], ticks: list[tuple[float, str]]) -> str:
    return str(draw_chart(lines, ticks, name="one", label="a chart", x_title="x", y_title="y, %"))


def test_points_lie_on_their_ticks() -> None:
    text = drawn([rate_line("a", [(0.0, "x 0", Rate(1, 1).to_dict()), (2.0, "x 2", HALF)], 0)], [(0.0, "zero"), (2.0, "two")])
    places = {label: float(x) for x, label in re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="middle">(zero|two)<', text)}
    rows = {label: float(y) - 4 for y, label in re.findall(r'y="([\d.]+)" text-anchor="end">(\d+)<', text)}
    line = re.findall(r'class="line" points="([^"]*)"', text)[-1]
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    assert points == [(places["zero"], rows["100"]), (places["two"], pytest.approx((rows["40"] + rows["60"]) / 2))]


def test_is_drawn_for_wide_and_narrow_windows() -> None:
    text = drawn([rate_line("a", [(1.0, "x 1", HALF)], 0)], [(1.0, "one")])
    assert re.findall(r'class="(wide|narrow)" viewBox="0 0 (\d+)', text) == [
        ("wide", str(SIZES[0][0])),
        ("narrow", str(SIZES[1][0])),
    ]


def test_rates_without_a_value_are_left_out() -> None:
    assert [point.x for point in rate_line("a", [(1.0, "x 1", NONE), (2.0, "x 2", HALF)], 0).points] == [2.0]


def test_a_single_line_needs_no_legend() -> None:
    lines = [rate_line(name, [(1.0, "x 1", HALF)], place) for place, name in enumerate("ab")]
    assert "legend" not in drawn(lines[:1], [(1.0, "one")])
    assert drawn(lines, [(1.0, "one")]).count("<li ") == 2


def test_ten_lines_have_ten_colours() -> None:
    lines = [rate_line(str(place), [(1.0, "x 1", HALF)], place) for place in range(10)]
    assert len({line.colour for line in lines}) == 10


def test_names_are_escaped() -> None:
    assert "<b>" not in drawn([rate_line(name, [(1.0, name, HALF)], 0) for name in ("<b>", '"<b>')], [(1.0, "<b>")])
