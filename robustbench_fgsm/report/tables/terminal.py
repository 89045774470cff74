"""A summary in the terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary, cell_text, is_text_column

STYLES = {
    "Warning": "yellow",
    "Mismatch": "red",
    "INVALID": "bold red",
    "FAILED": "bold red",
    "Failed": "bold red",
    "DISAGREE": "bold red",
    "WRONG": "bold red",
    "NOT": "bold red",
    "INCOMPLETE": "bold yellow",
    "unmeasured": "yellow",
    "PASSED": "bold green",
    "ok": "green",
    "AGREE": "bold green",
    "RIGHT": "bold green",
    "VERIFIED": "bold green",
    "Saved": "bold green",
}
"""Style of a sentence or cell by its first word. An indented sentence explains the one above, and has its colour."""

MAX_FIRST_TEXT, MAX_TEXT = 16, 12
"""Width in characters to which a sheet cuts its first column and its other columns of text."""


def render_summary(summary: Summary) -> RenderableType:
    """Return a summary as a terminal shows it: blocks with a blank line between them."""
    lines: list[RenderableType] = [*map(Text, summary.heading)]
    for section in summary.sections:
        lines += _render_section(section)
    if summary.closing and summary.sections:
        lines.append(Text())
    lines += _styled_lines(summary.closing)
    lines += _styled_lines(filter(None, [summary.verdict]))
    return Group(*lines[0 if summary.heading else 1 :])


def _render_section(section: Section) -> Iterator[RenderableType]:
    if section.chart:
        yield from (Text(), Text(section.chart))
    if section.title:
        yield from (Text(), Text(section.title, style="bold underline"))
    for sheet in section.sheets:
        yield from (Text(), render_sheet(sheet))
    if section.sentences:
        yield Text()
        yield from _styled_lines(section.sentences)


def _styled_lines(lines: Iterable[str]) -> Iterator[RenderableType]:
    style = ""
    for line in lines:
        first_word = line.partition(" ")[0].rstrip(":.")
        style = STYLES.get(first_word, "") if first_word else style.removeprefix("bold ")
        indent = len(line) - len(line.lstrip())
        text = Text(line[indent:], style=style)
        yield Padding(text, (0, 0, 0, indent), expand=False) if indent and "\n" not in line else Text(line, style=style)


def render_sheet(sheet: Sheet) -> RenderableType:
    """Return a sheet as a table under its title; a title of the table itself would wrap at the width of the table."""
    sheet, shared = _without_shared_columns(sheet) if sheet.shared_above else (sheet, "")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.padding = (0, 0, 0, 0 if sheet.highlight_diagonal else 1)
    for index in range(len(sheet.columns)):
        _add_column(table, sheet, index)
    for at, row in enumerate(sheet.rows):
        cells = [_render_cell(cell, sheet) for cell in row]
        if sheet.highlight_diagonal:
            cells[at + 1].stylize("bold")
        table.add_row(*cells)
    above = [*([Text(sheet.title, style="bold")] if sheet.title else []), *([Text(shared)] if shared else [])]
    return Group(*above, table) if above else table


def _without_shared_columns(sheet: Sheet) -> tuple[Sheet, str]:
    """Return a sheet without the columns of text in which all rows are equal, and a line that says them."""
    shared = [
        index
        for index in range(len(sheet.columns))
        if is_text_column(sheet, index) and len(sheet.rows) > 1 and len({row[index] for row in sheet.rows}) == 1
    ]
    kept = [index for index in range(len(sheet.columns)) if index not in shared]
    rows = tuple(tuple(row[index] for index in kept) for row in sheet.rows)
    words = ", ".join(f"{sheet.columns[index]} {cell_text(sheet.rows[0][index])}" for index in shared)
    return replace(sheet, columns=tuple(sheet.columns[index] for index in kept), rows=rows), f"All: {words}" if shared else ""


def _add_column(table: Table, sheet: Sheet, index: int) -> None:
    column, is_text = sheet.columns[index], is_text_column(sheet, index)
    is_rate = any(isinstance(row[index], dict) for row in sheet.rows)
    is_cut = is_text and not sheet.shared_above and (sheet.intervals_below or sheet.long_text == "cut")
    is_wrapped = (is_text and sheet.long_text == "wrap") or (is_rate and not sheet.intervals_below)
    least_width = 3 if sheet.highlight_diagonal else max(map(len, column.split() or [""])) if is_wrapped and is_text else None
    table.add_column(
        Text(column),
        justify="left" if is_text or is_rate else "right",
        no_wrap=not is_wrapped,
        overflow="fold" if is_wrapped else "ellipsis",
        min_width=least_width,
        max_width=(MAX_TEXT if index else MAX_FIRST_TEXT) if is_cut else None,
    )


def _render_cell(cell: Cell, sheet: Sheet) -> Text:
    if sheet.highlight_diagonal:
        return Text(str(cell))
    text = cell_text(cell, intervals_below=sheet.intervals_below)
    return Text(text, style=STYLES.get(text, ""))
