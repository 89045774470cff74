"""What `rfgsm` measures as Markdown for a paper or a pull request, from the documents that `--json` prints."""

from __future__ import annotations

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import benchmark as speed
from robustbench_fgsm.report.documents import evaluation as text
from robustbench_fgsm.report.documents import training as learning
from robustbench_fgsm.report.documents import transfer as crossing
from robustbench_fgsm.report.tables.markdown import escape, table


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


def _blocks(*blocks: str) -> str:
    return "\n\n".join(blocks)
