"""The summary of any document, and its CSV files, by its schema."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from robustbench_fgsm.printable_text import printable_document
from robustbench_fgsm.report.tables.csv import summary_csv_files, summary_to_single_csv
from robustbench_fgsm.report.tables.sheet import Section, Summary
from robustbench_fgsm.report.tables.text import shorten

if TYPE_CHECKING:
    from robustbench_fgsm.evaluation.document import Document

SUMMARY_MODULES = {
    "rfgsm.attack/1": "attack",
    "rfgsm.attack-check/1": "attack_check",
    "rfgsm.benchmark/1": "benchmark",
    "rfgsm.comparison/1": "comparison",
    "rfgsm.evaluation/1": "evaluation",
    "rfgsm.explanation/1": "explanation",
    "rfgsm.gate/1": "gate",
    "rfgsm.gate-plan/1": "gate_plan",
    "rfgsm.list/1": "list",
    "rfgsm.locked/1": "locked",
    "rfgsm.run-shown/1": "run_shown",
    "rfgsm.runs/1": "runs",
    "rfgsm.sweep/1": "sweep",
    "rfgsm.training/1": "training",
    "rfgsm.transfer/1": "transfer",
    "rfgsm.verification/2": "verification",
}
"""Module of `report.documents` whose `summarize` takes a document of each schema; imported when it is used."""

CSV_MODULES = {"rfgsm.evaluation/1": "evaluation_csv", "rfgsm.sweep/1": "evaluation_csv", "rfgsm.transfer/1": "transfer"}
"""Module of `report.documents` for each schema that has CSV files of its own."""


MAX_SHORT_LINE, MAX_SHORT_LINES = 140, 3
"""Width in characters and number of lines of a short summary, below its first line."""


def summarize(document: Document) -> Summary:
    """Return the summary of a document; that of a run includes the summary of its result."""
    document = printable_document(document)
    summary: Summary = _module(SUMMARY_MODULES[document["schema"]]).summarize(document)
    result = document.get("result")
    if result is None:
        return summary
    rest = summarize(result)
    return Summary(
        summary.heading, (*summary.sections, Section(sentences=rest.heading), *rest.sections), rest.closing, rest.verdict
    )


def short_summary(name: str, document: Document) -> str:
    """Return a name, what was measured, and the answer, in a few lines of a document's summary."""
    summary = summarize(document)
    answers = [line for line in summary.closing if line.partition(":")[0].isupper()]
    head, *rest = (
        shorten(line, MAX_SHORT_LINE) for line in (*summary.heading, *([summary.verdict] if summary.verdict else answers))
    )
    return "\n  ".join([f"{name}: {head}", *rest[:MAX_SHORT_LINES]])


def csv_files(document: Document) -> dict[str, str]:
    """Return the CSV text of each table of a document by file name."""
    document = printable_document(document)
    if document["schema"] in CSV_MODULES:
        files: dict[str, str] = _module(CSV_MODULES[document["schema"]]).csv_files(document)
        return files
    return summary_csv_files(summarize(document))


def single_csv(document: Document) -> str:
    """Return one CSV table of a document: the first, unless its schema has a form of its own."""
    document = printable_document(document)
    if document["schema"] in CSV_MODULES:
        return str(_module(CSV_MODULES[document["schema"]]).single_csv(document))
    return summary_to_single_csv(summarize(document))


def _module(name: str) -> Any:
    return import_module(f"robustbench_fgsm.report.documents.{name}")
