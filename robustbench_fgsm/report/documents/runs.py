"""Summary of a list of run directories."""

from __future__ import annotations

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.runs/1` document: a row for each run."""
    named = any(run.get("name") for run in document["runs"])
    rows = tuple(
        (
            run["path"],
            *([run.get("name") or ""] if named else []),
            run["command"],
            run["state"],
            f"{100 * run['done'] // run['pieces']} %" if run["pieces"] else "",
            f"{run['model'] or ''} {run['weights'] or ''}".strip(),
            run["data"] or "",
        )
        for run in document["runs"]
    )
    if not rows:
        return Summary(("no run here, nor in the directories below",))
    columns = ("run", *(["name"] if named else []), "command", "state", "done", "model", "data")
    return Summary((), (Section((Sheet("runs", "", columns, rows, long_text="wrap"),)),))
