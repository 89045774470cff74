"""Summary of one run directory: its state, and what became of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import epsilon_text

COLUMN_TITLES = {"minimal_epsilon": "fooled at", "zero_gradient": "zero", "nonfinite_gradient": "not finite"}


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.run-shown/1` document, without that of the run's result."""
    of = "quarters of an epoch" if document["command"] == "train" else "pieces"
    done = f", {document['done']:,} of {document['pieces']:,} {of}" if document["pieces"] is not None else ""
    name = f" ({document['name']})" if document.get("name") else ""
    heading = [f"{document['path']}{name}: {document['command']}, {document['state']}{done}"]
    if document["damaged"]:
        heading.append(f"Warning: {document['damaged']} damaged parts of the ledger, whose pieces are done again")
    samples = document.get("samples")
    return Summary(tuple(heading), (Section((_samples_sheet(samples),)),) if samples else ())


def _samples_sheet(samples: Sequence[Document]) -> Sheet:
    columns = tuple("\n".join(_column_title(key).split()) for key in samples[0])
    rows = tuple(tuple(_sample_text(key, value) for key, value in sample.items()) for sample in samples)
    return Sheet("samples", "", columns, rows, long_text="wrap")


def _column_title(key: str) -> str:
    """Return a narrow title: `after_0.0313725` is `after 8/255`."""
    what, _, epsilon = key.partition("_")
    return f"after {epsilon_text(float(epsilon))}" if what == "after" else COLUMN_TITLES.get(key, key.replace("_", " "))


def _sample_text(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    return epsilon_text(value) if key == "minimal_epsilon" else str(value)
