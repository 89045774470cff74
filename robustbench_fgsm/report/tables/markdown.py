"""TODO docstring."""

from __future__ import annotations

import re

from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import cell_text

MARKDOWN_CHARACTERS = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def table(sheet: Sheet) -> str:
    """A sheet under its title; text to the left, numbers to the right, the diagonal of a matrix bold."""
    left = [all(isinstance(row[index], str | None) for row in sheet.rows) for index in range(len(sheet.columns))]
    lines = [[escape_markdown(column) for column in sheet.columns], [":--" if is_text else "--:" for is_text in left]]
    for at, row in enumerate(sheet.rows):
        lines.append([_markdown_cell(cell, bold=sheet.highlight_diagonal and index == at + 1) for index, cell in enumerate(row)])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{escape_markdown(sheet.title)}\n\n{body}"


def escape_markdown(words: str) -> str:
    """Text that Markdown and GitHub show as it is, on one line."""
    return MARKDOWN_CHARACTERS.sub(r"\\\1", " ".join(words.split()))


def _markdown_cell(cell: Cell, *, bold: bool) -> str:
    words = escape_markdown(cell_text(cell))
    return f"**{words}**" if bold else words
