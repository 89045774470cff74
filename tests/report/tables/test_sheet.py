"""The table model."""

from __future__ import annotations

from robustbench_fgsm.report.tables.sheet import TRANSITION_AXES, Cell, Sheet, cell_text, matrix_sheet


def test_a_matrix_names_its_axes() -> None:
    made = matrix_sheet("transition", "Transition", [[1, 2], [3, 4]], ["a", "b"], TRANSITION_AXES)
    assert made.title == "Transition: before down, after across"
    assert made.rows == (("0 a", 1, 2), ("1 b", 3, 4))
    names = [f"c{label}" for label in range(101)]
    sparse = {"shape": [101, 101], "rows": [0, 7], "columns": [0, 9], "counts": [5, 3]}
    assert matrix_sheet("transition", "Transition", sparse, names, TRANSITION_AXES) == Sheet(
        "transition",
        "Transition: the pairs most often confused (all of them with --json)",
        ("before", "after", "images"),
        (("c7", "c9", 3),),
    )


def test_cells_as_text() -> None:
    rate: Cell = {"value": 0.5, "count": 1, "n": 2, "low": 0.1, "high": 0.9}
    assert [cell_text(cell) for cell in (None, "a", 1000, 8 / 255, rate)] == ["", "a", "1,000", "8/255", "50.0 [10.0, 90.0]"]
    assert cell_text(rate, intervals_below=True) == "50.0\n10.0-90.0"
