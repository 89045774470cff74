"""Summary of a list of models, data sets or references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.models.cards import bundled_cards
from robustbench_fgsm.report.tables.sheet import Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import rate_text

BUNDLED_COLUMNS = ("name", "weights", "parameters", "clean_accuracy", "data")
FOUND_COLUMNS = ("name", "weights", "parameters", "bytes", "on_disk")


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.list/1` document."""
    if document.get("models") == []:
        return Summary(("no model of that name",))
    return Summary((), (Section(tuple(_sheets(document))),))


def _sheets(document: Document) -> Iterator[Sheet]:
    if "models" not in document:
        name = "data" if "data" in document else "references"
        yield _rows_sheet(name, [_shown(row) for row in document[name]])
        return
    models = document["models"]
    is_filtered = len(models) != len(list(bundled_cards())) or any(row["source"] != "bundled" for row in models)
    columns = FOUND_COLUMNS if is_filtered else BUNDLED_COLUMNS
    yield _rows_sheet("models", [{key: row[key] for key in columns} for row in models])
    if not is_filtered:
        yield _rows_sheet("sources", [_source_row(row) for row in document["sources"]])


def _source_row(source: Document) -> Document:
    installed = f"{source['package'] or 'rfgsm'} {source['version']}" if source["version"] else source["install"]
    return {"source": source["name"], "model": source["example"], "installed": installed}


def _shown(row: Document) -> Document:
    """Return a row without its command to install, which takes the place of a version that is missing."""
    shown = {key: value for key, value in row.items() if key != "install"}
    return shown | {"version": f"none: {row['install']}"} if shown.get("version", "") is None else shown


def _rows_sheet(name: str, rows: Sequence[Document]) -> Sheet:
    columns = tuple(key.replace("_", " ") for key in rows[0])
    return Sheet(name, "", columns, tuple(tuple(map(_cell, row.values())) for row in rows), long_text="wrap")


def _cell(value: Any) -> str | int | None:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return f"{rate_text(value)} n={value['n']:,}"
        case int() | None:
            return value
    return str(value)
