"""What `rfgsm` measures as Markdown for a paper or a pull request, from the documents that `--json` prints."""

from __future__ import annotations

import re

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import benchmark as speed
from robustbench_fgsm.report.documents import evaluation as text
from robustbench_fgsm.report.documents import training as learning
from robustbench_fgsm.report.documents import transfer as crossing
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import cell_text

MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def evaluation(document: Document) -> str:
    """The whole of an `rfgsm.evaluation/1` document."""
    tables = map(table, text.evaluation_sheets(document))
    return _blocks("  \n".join(map(escape, text.heading(document))), *tables, *map(escape, text.closing(document)))


def sweep(document: Document) -> str:
    """The whole of an `rfgsm.sweep/1` document."""
    blocks = ["  \n".join(map(escape, text.heading(document["evaluations"][0])))]
    for found in document["evaluations"]:
        blocks += [f"**{escape(text.rule_name(found))}**", *map(table, text.sweep_sheets(found))]
        blocks += ["  \n".join(map(escape, text.summary(found)))]
    return _blocks(*blocks, *map(escape, text.closing(document)))


def benchmark(document: Document) -> str:
    """The whole of an `rfgsm.benchmark/1` document."""
    tables = map(table, speed.benchmark_sheets(document))
    return _blocks("  \n".join(map(escape, speed.heading(document))), *tables, *map(escape, speed.closing(document)))


def training(document: Document) -> str:
    """The whole of an `rfgsm.training/1` document."""
    lines = "  \n".join(map(escape, learning.heading(document)))
    return _blocks(lines, table(learning.epochs(document)), *map(escape, learning.closing(document)))


def transfer(document: Document) -> str:
    """The whole of an `rfgsm.transfer/1` document."""
    lines = "  \n".join(map(escape, crossing.heading(document)))
    return _blocks(lines, *map(table, crossing.transfer_sheets(document)), *map(escape, crossing.closing(document)))


def table(sheet: Sheet) -> str:
    """A sheet under its title; text to the left, numbers to the right, the diagonal of a matrix bold."""
    left = [all(isinstance(row[index], str | None) for row in sheet.rows) for index in range(len(sheet.columns))]
    lines = [[escape(column) for column in sheet.columns], [":--" if is_text else "--:" for is_text in left]]
    for at, row in enumerate(sheet.rows):
        lines.append([_cell(cell, bold=sheet.diagonal and index == at + 1) for index, cell in enumerate(row)])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{escape(sheet.title)}\n\n{body}"


def escape(words: str) -> str:
    """Text that Markdown and GitHub show as it is, on one line."""
    return MARKUP.sub(r"\\\1", " ".join(words.split()))


def _cell(cell: Cell, *, bold: bool) -> str:
    words = escape(cell_text(cell))
    return f"**{words}**" if bold else words


def _blocks(*blocks: str) -> str:
    return "\n\n".join(blocks)
