"""Evaluations as CSV, for spreadsheets and data frames, from the documents that `--json` prints."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.stats.rate import Rate

RISKY = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes text that begins with one of these for a formula."""

Row = list[tuple[str, object]]
"""Column and cell; a list, because class names need not differ from each other or from the other columns."""

RATES = ("robust_accuracy", "attack_success_rate", "flip_rate", "target_hit_rate", "accuracy_drop")


def files(document: Document) -> dict[str, str]:
    """CSV text by file name: `rates`, `per_class`, `clean_confusion`, `confusion` and `transition`."""
    found = evaluations(document)
    tables = {
        "rates": _overall(found),
        "per_class": _per_class(found),
        "clean_confusion": _clean(found),
        "confusion": _matrices(found, "confusion", "label"),
        "transition": _matrices(found, "transition", "before"),
    }
    return {f"{name}.csv": write(rows) for name, rows in tables.items()}


def single(document: Document) -> str:
    """One table: a row for each class at each budget, its rates, and its rows of both confusion matrices."""
    found = evaluations(document)
    rows = []
    for evaluation in found:
        before = _dense(evaluation["clean"]["confusion"])
        for place, kind, side in _sides(evaluation):
            after, names = _dense(side["confusion"]), evaluation["data"]["classes"]
            for label, result in enumerate(side["per_class"]):
                counts = _counts(names, before[label], "before: ") + _counts(names, after[label], "after: ")
                rows.append(_settings(evaluation, place, kind) + _class_row(result, names) + counts)
    return write(rows)


def evaluations(document: Document) -> list[Document]:
    """Those of a sweep, or the one that it is."""
    found: list[Document] = document.get("evaluations", [document])
    return found


def write(rows: Iterable[Row]) -> str:
    """CSV text with a header; null is an empty cell, and text that would be a formula begins with an apostrophe."""
    rows = list(rows)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([harmless(name) for name, _ in rows[0]])
    writer.writerows([harmless(value) for _, value in row] for row in rows)
    return stream.getvalue()


def harmless(value: object) -> object:
    """The value itself, numbers as they are; text that a spreadsheet would take for a formula after an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(RISKY) else value


def _sides(evaluation: Document) -> Iterator[tuple[float, str, Document]]:
    """Budget, kind of gradient, and what was found with it."""
    for at in evaluation["epsilons"]:
        yield at["epsilon"], "exact" if evaluation["attack"]["stable"] else "ordinary", at
        if "stable" in at:
            yield at["epsilon"], "stable where saturated", at["stable"]


def _settings(evaluation: Document, epsilon: float, kind: str) -> Row:
    attack = evaluation["attack"]
    return [
        ("targeted", attack["targeted"]),
        ("restarts", attack["restarts"]),
        ("epsilon", epsilon),
        ("gradient", kind),
    ]


def _overall(found: Sequence[Document]) -> Iterator[Row]:
    for evaluation in found:
        clean = rate_cells("clean_accuracy", evaluation["clean"]["accuracy"])
        for epsilon, kind, side in _sides(evaluation):
            rates = [cell for name in RATES for cell in rate_cells(name, side[name])]
            yield _settings(evaluation, epsilon, kind) + clean + rates + [("leaked", side["leaked"])]


def _per_class(found: Sequence[Document]) -> Iterator[Row]:
    for evaluation in found:
        for epsilon, kind, side in _sides(evaluation):
            for result in side["per_class"]:
                yield _settings(evaluation, epsilon, kind) + _class_row(result, evaluation["data"]["classes"])


def _class_row(result: Document, classes: Sequence[str]) -> Row:
    wrong = result["most_common_wrong"]
    return [
        ("label", result["label"]),
        ("name", result["name"]),
        ("n", result["n"]),
        *rate_cells("clean_accuracy", Rate(result["clean_correct"], result["n"]).to_dict()),
        *rate_cells("robust_accuracy", result["robust_accuracy"]),
        *rate_cells("attack_success_rate", result["attack_success_rate"]),
        ("most_common_wrong", None if wrong is None else classes[wrong]),
    ]


def rate_cells(name: str, rate: Document | None) -> Row:
    """A rate as five cells, empty where there is none."""
    parts = ("value", "count", "n", "low", "high")
    return [(name if part == "value" else f"{name}_{part}", rate[part] if rate else None) for part in parts]


def _clean(found: Sequence[Document]) -> Iterator[Row]:
    evaluation = found[0]  # the same for every targeting rule
    names = evaluation["data"]["classes"]
    for name, line in zip(names, _dense(evaluation["clean"]["confusion"]), strict=True):
        yield [("label", name), *_counts(names, line)]


def _matrices(found: Sequence[Document], key: str, rows: str) -> Iterator[Row]:
    for evaluation in found:
        names = evaluation["data"]["classes"]
        for epsilon, kind, side in _sides(evaluation):
            for name, line in zip(names, _dense(side[key]), strict=True):
                yield [*_settings(evaluation, epsilon, kind), (rows, name), *_counts(names, line)]


def _counts(names: Sequence[str], counts: Sequence[int], prefix: str = "") -> Row:
    return [(f"{prefix}{name}", count) for name, count in zip(names, counts, strict=True)]


def _dense(matrix: Any) -> list[list[int]]:
    if isinstance(matrix, list):
        return matrix
    dense = [[0] * matrix["shape"][1] for _ in range(matrix["shape"][0])]
    for row, column, count in zip(matrix["rows"], matrix["columns"], matrix["counts"], strict=True):
        dense[row][column] = count
    return dense
