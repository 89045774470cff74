"""Page of a document that has no page of its own, such as a gate: its summary, with the verdict on top."""

from __future__ import annotations

from robustbench_fgsm.report.loaded_run import GATE_SCHEMA, LoadedRun, schema_kind
from robustbench_fgsm.report.pages.layout import render_page
from robustbench_fgsm.report.pages.tiles import gate_tiles
from robustbench_fgsm.report.summarize import summarize
from robustbench_fgsm.report.tables.sheet import cell_text, is_text_column

FAILED_WORDS = ("FAILED", "INVALID", "DISAGREE", "WRONG", "NOT")
"""First words of verdicts that say no."""


def build_summary_page(run: LoadedRun) -> str:
    """Return the page of a document of any schema that has a summary; an equal run always gives an equal page."""
    document = run.document
    summary = summarize(document)
    reasons = document.get("invalid_reasons", [])
    notes = [line.strip() for line in summary.closing if line and not line.startswith(("INVALID:", "Warning:"))]
    answer = summary.verdict or (notes.pop() if notes else "")
    passed = not answer.startswith(FAILED_WORDS)
    return render_page(
        "summary.html.jinja",
        ("format", "page_data", "charts", "start"),
        {"document": document},
        [run],
        reasons=reasons,
        gates=[(passed, answer)] if answer else [],
        warnings=document.get("warnings", []),
        limits=notes,
        tiles=list(gate_tiles(document)) if document["schema"] == GATE_SCHEMA else [],
        document=document,
        kind=schema_kind(document["schema"]).replace("-", " "),
        summary=summary,
        text=cell_text,
        is_text=is_text_column,
    )
