"""The table model: what a table holds, without what it looks like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from robustbench_fgsm.report.tables.text import epsilon_text, rate_text

Cell = str | int | float | dict[str, Any] | None
"""A text, a count (int), a budget (float), a rate as JSON holds it, or an empty cell."""

MAX_MATRIX_CLASSES = 12
"""Most classes of a matrix that is shown whole; a larger one is shown by its largest pairs."""

MAX_LISTED_CLASSES = 20
"""Most classes in a table by class; of more, the least robust ones are listed."""

CONFUSION_AXES = ("label", "prediction")
TRANSITION_AXES = ("before", "after")


@dataclass(frozen=True)
class Sheet:
    """Table: columns and rows of cells under a title.

    name: its name among the sheets of a document, and of its CSV file. intervals_below: a terminal shows the interval of a
    rate below it. highlight_diagonal: cell i + 1 of row i is bold. long_text: what a terminal does with a text that is too
    wide; a sheet with `intervals_below` cuts it. shared_above: a terminal shows columns of text with one value above the table.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    intervals_below: bool = False
    highlight_diagonal: bool = False
    long_text: Literal["keep", "cut", "wrap"] = "keep"
    shared_above: bool = False


@dataclass(frozen=True)
class Section:
    """Sheets under a title, with a chart in characters above them and sentences below them."""

    sheets: tuple[Sheet, ...] = ()
    sentences: tuple[str, ...] = ()
    title: str = ""
    chart: str = ""


@dataclass(frozen=True)
class Summary:
    """Summary of a document: heading lines, sections, closing sentences, and the answer in one sentence if there is one."""

    heading: tuple[str, ...]
    sections: tuple[Section, ...] = ()
    closing: tuple[str, ...] = ()
    verdict: str = ""

    @property
    def sheets(self) -> list[Sheet]:
        """Return the sheets of all sections."""
        return [sheet for section in self.sections for sheet in section.sheets]


def cell_text(cell: Cell, *, intervals_below: bool = False) -> str:
    """Return a cell as text: counts with thousands separated, budgets by `epsilon_text`, rates by `rate_text`."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case int():
            return f"{cell:,}"
        case float():
            return epsilon_text(cell)
    text = rate_text(cell)
    return text.replace(" [", "\n").replace(", ", "-").removesuffix("]") if intervals_below else text


def is_text_column(sheet: Sheet, column: int) -> bool:
    """Return True if all cells of a column are text or empty."""
    return all(isinstance(row[column], str | None) for row in sheet.rows)


def matrix_sheet(name: str, title: str, counts: Any, classes: Sequence[str], axes: tuple[str, str] = CONFUSION_AXES) -> Sheet:
    """Return a matrix of counts, dense or sparse, as a sheet; above twelve classes its ten largest pairs off the diagonal."""
    down, across = axes
    if isinstance(counts, dict) or len(classes) > MAX_MATRIX_CLASSES:
        largest = sorted(_off_diagonal(counts), reverse=True)[:10]
        rows = tuple((classes[row], classes[column], count) for count, row, column in largest)
        return Sheet(name, f"{title}: the pairs most often confused (all of them with --json)", (down, across, "images"), rows)
    rows = tuple((f"{label} {classes[label]}", *line) for label, line in enumerate(counts))
    columns = ("", *(str(label) for label in range(len(classes))))
    return Sheet(name, f"{title}: {down} down, {across} across", columns, rows, highlight_diagonal=True)


def _off_diagonal(counts: Any) -> Iterator[tuple[int, int, int]]:
    if isinstance(counts, dict):
        cells = list(zip(counts["counts"], counts["rows"], counts["columns"], strict=True))
    else:
        cells = [(count, row, column) for row, line in enumerate(counts) for column, count in enumerate(line)]
    return (cell for cell in cells if cell[0] and cell[1] != cell[2])


def least_robust_classes(results: Sequence[dict[str, Any]], full_list_options: str) -> tuple[Sequence[dict[str, Any]], str]:
    """Return the classes that a table lists, and what its title says about those left out.

    Args:
        results: each class with its robust accuracy.
        full_list_options: options of the command line that give all classes.
    """
    if len(results) <= MAX_LISTED_CLASSES:
        return results, ""
    present = [result for result in results if result["n"]]
    worst = sorted(present, key=lambda result: result["robust_accuracy"]["value"])[:MAX_LISTED_CLASSES]
    return worst, f"; the {MAX_LISTED_CLASSES} least robust (all with {full_list_options})"
