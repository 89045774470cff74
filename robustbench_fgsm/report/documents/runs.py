"""Run directories as tables, from the documents of `rfgsm runs --json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents import evaluation
from robustbench_fgsm.report.documents.training import training
from robustbench_fgsm.report.documents.transfer import transfer
from robustbench_fgsm.report.tables.terminal import epsilon_text

RESULTS: dict[str, Callable[[Document], RenderableType]] = {
    "evaluate": evaluation.evaluation,
    "sweep": evaluation.sweep,
    "transfer": transfer,
    "train": training,
}
"""What shows the result of a command that records its progress."""


def listed(document: Document) -> RenderableType:
    """A row for each run."""
    found = document["runs"]
    if not found:
        return "no run here, nor in the directories below"
    return _table(
        [
            {
                "run": run["path"],
                "command": run["command"],
                "state": run["state"],
                "done": _share(run),
                "model": f"{run['model'] or ''} {run['weights'] or ''}".strip(),
                "data": run["data"] or "",
            }
            for run in found
        ]
    )


def shown(document: Document) -> RenderableType:
    """One run: what it is, what became of images where that was asked for, and its result."""
    return Group(*_parts(document))


def _parts(document: Document) -> Iterator[RenderableType]:
    of = "quarters of an epoch" if document["command"] == "train" else "pieces"
    done = f", {document['done']:,} of {document['pieces']:,} {of}" if document["pieces"] is not None else ""
    yield Text(f"{document['path']}: {document['command']}, {document['state']}{done}")
    if document["damaged"]:
        yield Text(f"Warning: {document['damaged']} damaged parts of the ledger, whose pieces are done again", "yellow")
    if samples := document.get("samples"):
        yield _table([{_head(key): _cell(key, value) for key, value in row.items()} for row in samples])
    result = document.get("result")
    if result is not None:
        yield RESULTS[document["command"]](result)


def _share(run: Document) -> str:
    return "" if not run["pieces"] else f"{100 * run['done'] // run['pieces']} %"


def _head(key: str) -> str:
    """A name that is narrow: `after_0.0313725` is `after 8/255`."""
    what, _, epsilon = key.partition("_")
    names = {"minimal_epsilon": "fooled at", "zero_gradient": "zero", "nonfinite_gradient": "not finite"}
    return f"after {epsilon_text(float(epsilon))}" if what == "after" else names.get(key, key)


def _cell(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: ""}[value]
    return epsilon_text(value) if key == "minimal_epsilon" else str(value)


def _table(rows: Sequence[dict[str, str]]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for key in rows[0]:
        head = key.replace("_", " ")
        table.add_column(Text(head), overflow="fold", min_width=max(map(len, head.split())))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.values()))
    return table
