"""Run directories as tables, from the documents of `rfgsm runs --json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import evaluation
from robustbench_fgsm.report.documents.training import render_training
from robustbench_fgsm.report.documents.transfer import render_transfer
from robustbench_fgsm.report.tables.terminal import epsilon_text

RESULT_RENDERERS: dict[str, Callable[[Document], RenderableType]] = {
    "evaluate": evaluation.render_evaluation,
    "sweep": evaluation.render_sweep,
    "transfer": render_transfer,
    "train": render_training,
}
"""What shows the result of a command that records its progress."""


def render_runs(document: Document) -> RenderableType:
    """A row for each run."""
    found = document["runs"]
    if not found:
        return "no run here, nor in the directories below"
    return _rows_table(
        [
            {
                "run": run["path"],
                "command": run["command"],
                "state": run["state"],
                "done": _progress_text(run),
                "model": f"{run['model'] or ''} {run['weights'] or ''}".strip(),
                "data": run["data"] or "",
            }
            for run in found
        ]
    )


def render_run(document: Document) -> RenderableType:
    """One run: what it is, what became of images where that was asked for, and its result."""
    return Group(*_run_parts(document))


def _run_parts(document: Document) -> Iterator[RenderableType]:
    of = "quarters of an epoch" if document["command"] == "train" else "pieces"
    done = f", {document['done']:,} of {document['pieces']:,} {of}" if document["pieces"] is not None else ""
    yield Text(f"{document['path']}: {document['command']}, {document['state']}{done}")
    if document["damaged"]:
        yield Text(f"Warning: {document['damaged']} damaged parts of the ledger, whose pieces are done again", "yellow")
    if samples := document.get("samples"):
        yield _rows_table([{_column_title(key): _sample_cell_text(key, value) for key, value in row.items()} for row in samples])
    result = document.get("result")
    if result is not None:
        yield RESULT_RENDERERS[document["command"]](result)


def _progress_text(run: Document) -> str:
    return "" if not run["pieces"] else f"{100 * run['done'] // run['pieces']} %"


def _column_title(key: str) -> str:
    """A name that is narrow: `after_0.0313725` is `after 8/255`."""
    what, _, epsilon = key.partition("_")
    names = {"minimal_epsilon": "fooled at", "zero_gradient": "zero", "nonfinite_gradient": "not finite"}
    return f"after {epsilon_text(float(epsilon))}" if what == "after" else names.get(key, key)


def _sample_cell_text(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: ""}[value]
    return epsilon_text(value) if key == "minimal_epsilon" else str(value)


def _rows_table(rows: Sequence[dict[str, str]]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for key in rows[0]:
        head = key.replace("_", " ")
        table.add_column(Text(head), overflow="fold", min_width=max(map(len, head.split())))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.values()))
    return table
