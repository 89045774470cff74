"""Accuracy over every epsilon: where it falls, where the drawing ends, and its chart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robustbench_fgsm.report.documents.distance_curve import distance_chart, distance_curves, drawn_width
from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.stats.rate import Rate

Measured = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("budgets", ["8/255", "4,8/255"])
def test_curve_agrees_with_robust_accuracy_and_is_in_every_summary(measured: Measured, budgets: str) -> None:
    document = measured(budgets, distance=True)
    (evaluation, *_) = document.get("evaluations", [document])
    ((name, steps),) = distance_curves(evaluation)
    assert name == "ordinary"
    assert steps[0][1].count == evaluation["clean"]["accuracy"]["count"]
    shown = {"schema": "rfgsm.run-shown/1", "path": "d", "command": "evaluate", "state": "done", "done": 1, "pieces": 1}
    for summary in (summarize(document), summarize(shown | {"damaged": 0, "result": document})):
        assert distance_chart(evaluation) in [section.chart for section in summary.sections]


def test_no_distances_no_curve(measured: Measured) -> None:
    assert distance_chart(measured()) == ""


def test_stable_gradients_have_a_curve_of_their_own(measured: Measured) -> None:
    document = measured(distance=True)
    document["distance"]["stable"] = document["distance"]
    assert [name for name, _ in distance_curves(document)] == ["ordinary", "stable"]
    assert "B stable gradients" in distance_chart(document)


def test_drawing_ends_where_the_longest_curve_is_flat() -> None:
    falling, high = [(0.0, 90), (0.1, 1), (0.5, 0)], [(0.0, 90), (0.5, 40)]
    short, long = ([(epsilon, Rate(count, 100)) for epsilon, count in steps] for steps in (falling, high))
    assert drawn_width([short]) == 0.1
    assert drawn_width([short, long]) == 0.5
