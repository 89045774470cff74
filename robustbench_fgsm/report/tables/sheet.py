"""What the tables of an evaluation, a sweep or a comparison hold, before anybody decides how they look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.evaluation.document import Document

Cell = str | int | float | Document | None
"""Text, a count, a budget (float), a rate as JSON knows it, or nothing."""

MAX_MATRIX_CLASSES = 12
"""A matrix of more classes is listed by its largest pairs."""

MAX_LISTED_CLASSES = 20
"""Of more classes, so many of the worst are listed."""

CONFUSION_AXES = ("label", "prediction")
TRANSITION_AXES = ("before", "after")


@dataclass(frozen=True)
class Sheet:
    """A table. tall: intervals may stand below their rates. diagonal: cell i + 1 of row i stands out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    intervals_below: bool = False
    highlight_diagonal: bool = False


def matrix_sheet(title: str, counts: Any, classes: Sequence[str], axes: tuple[str, str] = CONFUSION_AXES) -> Sheet:
    """One matrix, dense or as {rows, columns, counts}, with its axes named; above twelve classes its ten largest pairs."""
    down, across = axes
    if isinstance(counts, dict) or len(classes) > MAX_MATRIX_CLASSES:
        largest = sorted(_off_diagonal(counts), reverse=True)[:10]
        rows = tuple((classes[row], classes[column], count) for count, row, column in largest)
        return Sheet(f"{title}: the pairs most often confused (all of them with --json)", (down, across, "images"), rows)
    rows = tuple((f"{label} {classes[label]}", *line) for label, line in enumerate(counts))
    columns = ("", *(str(label) for label in range(len(classes))))
    return Sheet(f"{title}: {down} down, {across} across", columns, rows, highlight_diagonal=True)


def _off_diagonal(counts: Any) -> Iterator[tuple[int, int, int]]:
    if isinstance(counts, dict):
        cells = list(zip(counts["counts"], counts["rows"], counts["columns"], strict=True))
    else:
        cells = [(count, row, column) for row, line in enumerate(counts) for column, count in enumerate(line)]
    return (cell for cell in cells if cell[0] and cell[1] != cell[2])


def success_denominator(evaluation: Document) -> str:
    """Which images the success rate speaks of."""
    return "right before" if evaluation["attack"]["targeted"] == "none" else "off target"


def starts_text(evaluation: Document) -> str:
    """`, best of R + 1 starts (R = 3)` where there are random starts, to stand beside rates; else nothing."""
    restarts = evaluation["attack"]["restarts"]
    return f"; best of {restarts + 1} starts (R = {restarts})" if restarts else ""


def least_robust_classes(results: Sequence[Document], full_list_options: str) -> tuple[Sequence[Document], str]:
    """All classes where they fit a table, else the worst of those that have images; and what its title says of that.

    whole: the options that give all of them.
    """
    if len(results) <= MAX_LISTED_CLASSES:
        return results, ""
    present = [result for result in results if result["n"]]
    worst = sorted(present, key=lambda result: result["robust_accuracy"]["value"])[:MAX_LISTED_CLASSES]
    return worst, f"; the {MAX_LISTED_CLASSES} least robust (all with {full_list_options})"
