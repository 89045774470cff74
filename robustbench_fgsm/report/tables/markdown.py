"""A summary as Markdown, for a paper or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from robustbench_fgsm.report.tables.sheet import Cell, Sheet, Summary, cell_text, is_text_column

MARKDOWN_CHARACTERS = re.compile(r"([\\`*_{}\[\]<>#|~$&])")

FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[-+\d., %()\\\[\]]+")
"""Beginning of a cell that a spreadsheet takes for a formula, and a cell that is a number with its sign."""


def summary_to_markdown(summary: Summary) -> str:
    """Return a summary as Markdown: the verdict first, the lines of a paragraph broken as they are, and no chart."""
    return "\n\n".join(_blocks(summary))


def _blocks(summary: Summary) -> Iterator[str]:
    if summary.verdict:
        yield f"**{escape_markdown(summary.verdict)}**"
    if summary.heading:
        yield _join_lines(summary.heading)
    for section in summary.sections:
        if section.title:
            yield f"**{escape_markdown(section.title)}**"
        yield from map(sheet_to_markdown, section.sheets)
        if section.sentences:
            yield _join_lines(section.sentences)
    yield from (escape_markdown(line) for line in summary.closing if line)


def sheet_to_markdown(sheet: Sheet) -> str:
    """Return a sheet as a table under its title: text to the left, numbers to the right, the diagonal of a matrix bold."""
    left = [is_text_column(sheet, index) for index in range(len(sheet.columns))]
    lines = [[escape_markdown(column) for column in sheet.columns], [":--" if is_text else "--:" for is_text in left]]
    for at, row in enumerate(sheet.rows):
        lines.append([_markdown_cell(cell, bold=sheet.highlight_diagonal and index == at + 1) for index, cell in enumerate(row)])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{escape_markdown(sheet.title)}\n\n{body}" if sheet.title else body


def escape_markdown(words: str) -> str:
    """Return text on one line that Markdown and GitHub show as it is."""
    return MARKDOWN_CHARACTERS.sub(r"\\\1", " ".join(words.split()))


def _join_lines(lines: Iterable[str]) -> str:
    return "  \n".join(map(escape_markdown, lines))


def _markdown_cell(cell: Cell, *, bold: bool) -> str:
    words = escape_markdown(cell_text(cell))
    if isinstance(cell, str) and FORMULA.match(words) and not NUMBER.fullmatch(words):
        words = f"\\{words}"
    return f"**{words}**" if bold else words
