"""Accuracy over every epsilon as SVG: a line and a band for each attack, and names that stay text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from robustbench_fgsm.report.attacks_in_runs import attacks_in_runs
from robustbench_fgsm.report.pages.distance_curve import draw_distance_curves
from robustbench_fgsm.report.pages.evaluations import build_evaluations_page
from robustbench_fgsm.report.tables.text import rate_text
from tests.report.runs import run

Measured = Callable[..., dict[str, Any]]


def test_one_line_for_each_attack_within_the_drawing(measured: Measured) -> None:
    document = measured("4,8/255", targeted=("none", "next"), distance=True)
    text = draw_distance_curves(attacks_in_runs([run(document)]))
    for drawing in text.split("<svg")[-2:]:
        ((width, height),) = [map(int, size) for size in re.findall(r'viewBox="0 0 (\d+) (\d+)" role', drawing)]
        points = [
            tuple(map(float, point.split(","))) for line in re.findall(r'points="([^"]*)"', drawing) for point in line.split()
        ]
        assert len(re.findall("<polyline", drawing)) == len(re.findall("<polygon", drawing)) == 2
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    assert text in build_evaluations_page([run(document)])


def test_line_falls_from_the_clean_accuracy(measured: Measured) -> None:
    document = measured(distance=True)
    text = draw_distance_curves(attacks_in_runs([run(document)]))
    text = text.split("<svg")[-1]
    (line,) = re.findall(r'<polyline class="line" points="([^"]*)"', text)
    heights = [float(point.split(",")[1]) for point in line.split()]
    assert heights == sorted(heights)
    rows = {label: float(y) - 4 for y, label in re.findall(r'y="([\d.]+)" text-anchor="end">(\d+)<', text)}
    clean = document["clean"]["accuracy"]["value"]
    assert abs(heights[0] - (rows["0"] + clean * (rows["100"] - rows["0"]))) < 0.1


def test_tooltips_have_the_value_at_their_place(measured: Measured) -> None:
    """At ε = 0 the curve is the clean accuracy, except for images whose distance is 0."""
    document = measured(distance=True)
    text = draw_distance_curves(attacks_in_runs([run(document)]))
    first, *_ = re.findall(r"<title>([^<]*)</title>", text)
    clean = document["clean"]["accuracy"]
    assert first == f"Untargeted, epsilon 0/255: {rate_text(clean)} %, n={clean['n']}"


def test_nothing_without_distances(measured: Measured) -> None:
    assert draw_distance_curves(attacks_in_runs([run(measured())])) == ""
    assert "Accuracy over every epsilon" not in build_evaluations_page([run(measured())])


def test_names_are_escaped(measured: Measured) -> None:
    runs = [run(measured(distance=True)), run(measured(distance=True))]
    runs[0].__dict__["name"] = '"><script>'
    assert "<script>" not in draw_distance_curves(attacks_in_runs(runs))
