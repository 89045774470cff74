"""What `rfgsm` measures as Markdown for a paper or a pull request, from the documents that `--json` prints."""

from __future__ import annotations

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import benchmark as speed
from robustbench_fgsm.report.documents import evaluation as text
from robustbench_fgsm.report.documents import training as learning
from robustbench_fgsm.report.documents import transfer as crossing
from robustbench_fgsm.report.tables.markdown import escape_markdown, table


def evaluation_to_markdown(document: Document) -> str:
    """The whole of an `rfgsm.evaluation/1` document."""
    tables = map(table, text.evaluation_sheets(document))
    return _join_blocks(
        "  \n".join(map(escape_markdown, text.heading(document))), *tables, *map(escape_markdown, text.closing(document))
    )


def sweep_to_markdown(document: Document) -> str:
    """The whole of an `rfgsm.sweep/1` document."""
    blocks = ["  \n".join(map(escape_markdown, text.heading(document["evaluations"][0])))]
    for found in document["evaluations"]:
        blocks += [f"**{escape_markdown(text.target_rule_name(found))}**", *map(table, text.sweep_sheets(found))]
        blocks += ["  \n".join(map(escape_markdown, text.evaluation_summary(found)))]
    return _join_blocks(*blocks, *map(escape_markdown, text.closing(document)))


def benchmark_to_markdown(document: Document) -> str:
    """The whole of an `rfgsm.benchmark/1` document."""
    tables = map(table, speed.benchmark_sheets(document))
    return _join_blocks(
        "  \n".join(map(escape_markdown, speed.heading(document))), *tables, *map(escape_markdown, speed.closing(document))
    )


def training_to_markdown(document: Document) -> str:
    """The whole of an `rfgsm.training/1` document."""
    lines = "  \n".join(map(escape_markdown, learning.heading(document)))
    return _join_blocks(lines, table(learning.epochs_sheet(document)), *map(escape_markdown, learning.closing(document)))


def transfer_to_markdown(document: Document) -> str:
    """The whole of an `rfgsm.transfer/1` document."""
    lines = "  \n".join(map(escape_markdown, crossing.heading(document)))
    return _join_blocks(lines, *map(table, crossing.transfer_sheets(document)), *map(escape_markdown, crossing.closing(document)))


def _join_blocks(*blocks: str) -> str:
    return "\n\n".join(blocks)
