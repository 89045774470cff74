"""Results as tables that read well at 80 columns, from the same documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document as Document
from robustbench_fgsm.report.tables.sheet import Cell, Sheet

INTERVAL_NOTE = (
    "Intervals: 95 % Wilson; the images are taken as a sample of their kind. They say nothing of other attacks or seeds."
)
LIMITATION_NOTE = "FGSM is one step of one attack: what it fools is not robust, and what it does not fool may not be either."

LINE_STYLES = {
    "Warning": "yellow",
    "INVALID": "bold red",
    "FAILED": "bold red",
    "Failed": "bold red",
    "PASSED": "bold green",
}
"""Of a line of prose, by what stands before its colon."""


def styled_lines(lines: Iterable[str]) -> Iterator[Text]:
    """Sentences, a line each, with warnings and verdicts in colour."""
    return (Text(line, style=LINE_STYLES.get(line.partition(":")[0], "")) for line in lines)


def count_text(count: int, noun: str) -> str:
    """`1 image`, `1,000 images`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def epsilon_text(epsilon: float) -> str:
    """`8/255` where it is one, up to 1, else the number."""
    steps = round(epsilon * 255)
    return f"{steps}/255" if 0 < steps <= 255 and abs(epsilon * 255 - steps) < 1e-9 else f"{epsilon:g}"


def rate_text(rate: Document) -> str:
    """`12.3 [11.7, 12.9]` in per cent, without its n; `n/a` for 0/0."""
    if rate["value"] is None:
        return "n/a"
    interval = "" if rate["low"] is None else f" [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
    return f"{100 * rate['value']:.1f}{interval}"


def render_sheet(sheet: Sheet) -> RenderableType:
    """A sheet as a table; rates of a tall sheet with their intervals below them."""
    table = new_table()
    table.padding = (0, 0, 0, 0 if sheet.highlight_diagonal else 1)
    for index, column in enumerate(sheet.columns):
        text = all(isinstance(row[index], str | None) for row in sheet.rows)
        left = text or any(isinstance(row[index], dict) for row in sheet.rows)
        width = (16 if index == 0 else 12) if sheet.intervals_below and text else None
        least = 3 if sheet.highlight_diagonal else None
        table.add_column(Text(column), justify="left" if left else "right", no_wrap=True, max_width=width, min_width=least)
    for at, row in enumerate(sheet.rows):
        cells = [
            Text(str(cell) if sheet.highlight_diagonal else cell_text(cell, intervals_below=sheet.intervals_below)) for cell in row
        ]
        if sheet.highlight_diagonal:
            cells[at + 1].stylize("bold")
        table.add_row(*cells)
    return with_title(sheet.title, table)


def cell_text(cell: Cell, *, intervals_below: bool = False) -> str:
    """Counts with thousands separated, budgets by `epsilon_text`, rates by `rate_text`, or over two lines."""
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


def with_title(title: str, table: Table) -> RenderableType:
    """A title above a table; the table's own would wrap at the width of the table."""
    return Padding(Group(Text(title, style="bold"), table), (1, 0, 0, 0))


def new_table() -> Table:
    """Return an empty table in the style of the package."""
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
