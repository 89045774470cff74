"""Figures draw the counts and rates of the document at the budget and attack that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.figures.classes import EVALUATION_FIGURE_KINDS, draw_evaluation
from robustbench_fgsm.report.figures.curves import encode_figure
from robustbench_fgsm.report.tables.text import rate_text
from robustbench_fgsm.stats.confusion import matrix_from_json
from tests.report.runs import hostile, wide

Measured = Callable[..., dict[str, Any]]


def widths(axes: Any) -> list[float]:
    return [bar.get_width() for bar in axes.patches]


@pytest.fixture
def swept(measured: Measured) -> dict[str, Any]:
    return measured("4,64/255", targeted=("none", "next"))


@pytest.mark.parametrize(("targeted", "place"), [(None, 0), ("none", 0), ("next", 1)])
@pytest.mark.parametrize(("epsilon", "index"), [(None, 1), (4 / 255, 0)])
def test_matrices_match_the_document(
    swept: dict[str, Any], targeted: str | None, place: int, epsilon: float | None, index: int
) -> None:
    figure = draw_evaluation(swept, "confusion", targeted, epsilon)
    found = swept["evaluations"][place]
    for axes, matrix in zip(figure.axes, (found["clean"]["confusion"], found["epsilons"][index]["confusion"]), strict=False):
        assert [int(text.get_text()) for text in axes.texts] == [count for row in matrix for count in row]
        counts = np.array(matrix)
        shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), shares)


def test_colour_bar_is_as_high_as_the_matrix(measured: Measured) -> None:
    figure = draw_evaluation(measured(), "confusion")
    figure.canvas.draw()
    after, bar = (axes.get_window_extent() for axes in (figure.axes[1], figure.axes[1].child_axes[0]))
    assert (bar.y0, bar.y1) == pytest.approx((after.y0, after.y1))


def test_bars_match_the_rates(swept: dict[str, Any]) -> None:
    (axes,) = draw_evaluation(swept, "per-class", "next", 64 / 255).axes
    at = swept["evaluations"][1]["epsilons"][1]
    rates = [result["robust_accuracy"] for result in at["per_class"] if result["n"]]
    np.testing.assert_allclose(widths(axes), [100 * rate["value"] for rate in rates])
    (whiskers,) = [lines for lines in axes.collections if len(lines.get_segments()) == len(rates)]  # type: ignore[attr-defined]
    ends = [[segment[0][0], segment[1][0]] for segment in whiskers.get_segments()]  # type: ignore[attr-defined]
    np.testing.assert_allclose(ends, [[100 * rate["low"], 100 * rate["high"]] for rate in rates], atol=1e-9)
    assert axes.lines[-1].get_label() == f"all 60 images: {rate_text(at['robust_accuracy'])}"


def test_the_usual_budget_is_the_default(measured: Measured) -> None:
    title = draw_evaluation(measured("4,8,64/255"), "per-class").axes[0].get_title()
    assert title.endswith("epsilon 8/255")


@pytest.mark.parametrize("kind", EVALUATION_FIGURE_KINDS)
def test_hostile_names(measured: Measured, kind: str) -> None:
    document = hostile(measured())
    document["data"]["classes"][4] = "$\\bad$"
    assert encode_figure(draw_evaluation(document, kind), "svg").startswith(b"<?xml")


def test_many_classes(measured: Measured) -> None:
    document = wide(measured(), num_classes=150, n=3000, budgets=1)
    assert not list(draw_evaluation(document, "confusion").axes[1].texts)
    (axes,) = draw_evaluation(document, "per-class").axes
    values = sorted(100 * result["robust_accuracy"]["value"] for result in document["epsilons"][0]["per_class"])
    np.testing.assert_allclose(widths(axes), values[:40])


def test_sparse_and_dense_matrices_are_equal() -> None:
    cells = {"shape": [3, 3], "rows": [0, 2], "columns": [1, 2], "counts": [5, 7]}
    np.testing.assert_array_equal(matrix_from_json(cells), matrix_from_json([[0, 5, 0], [0, 0, 0], [0, 0, 7]]))


@pytest.mark.parametrize(
    ("kind", "targeted", "epsilon", "says"),
    [
        ("gallery", None, None, "kind must be one of confusion, curve, per-class, got 'gallery'"),
        ("confusion", "random", None, "none or next, got 'random'"),
        ("confusion", None, 5 / 255, "4/255, 64/255, got 5/255"),
        ("curve", "none", None, "leave targeted and epsilon out"),
        ("curve", None, 4 / 255, "leave targeted and epsilon out"),
    ],
)
def test_rejects_wrong_settings(swept: dict[str, Any], kind: str, targeted: str | None, epsilon: float | None, says: str) -> None:
    with pytest.raises(SettingError) as refused:
        draw_evaluation(swept, kind, targeted, epsilon)
    assert says in str(refused.value)
