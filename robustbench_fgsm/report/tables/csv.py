"""Evaluations as CSV, for spreadsheets and data frames, from the documents that `--json` prints."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.stats.rate import Rate

FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes text that begins with one of these for a formula."""

CsvRow = list[tuple[str, object]]
"""Column and cell; a list, because class names need not differ from each other or from the other columns."""

RATE_NAMES = ("robust_accuracy", "attack_success_rate", "flip_rate", "target_hit_rate", "accuracy_drop")


def csv_files(document: Document) -> dict[str, str]:
    """CSV text by file name: `rates`, `per_class`, `clean_confusion`, `confusion` and `transition`."""
    found = sweep_evaluations(document)
    tables = {
        "rates": _overall_rows(found),
        "per_class": _class_rows(found),
        "clean_confusion": _clean_confusion_rows(found),
        "confusion": _matrix_rows(found, "confusion", "label"),
        "transition": _matrix_rows(found, "transition", "before"),
    }
    return {f"{name}.csv": csv_text(rows) for name, rows in tables.items()}


def single_csv(document: Document) -> str:
    """One table: a row for each class at each budget, its rates, and its rows of both confusion matrices."""
    found = sweep_evaluations(document)
    rows = []
    for evaluation in found:
        before = _dense_matrix(evaluation["clean"]["confusion"])
        for place, kind, side in _rates_by_gradient(evaluation):
            after, names = _dense_matrix(side["confusion"]), evaluation["data"]["classes"]
            for label, result in enumerate(side["per_class"]):
                counts = _count_cells(names, before[label], "before: ") + _count_cells(names, after[label], "after: ")
                rows.append(_attack_cells(evaluation, place, kind) + _class_cells(result, names) + counts)
    return csv_text(rows)


def sweep_evaluations(document: Document) -> list[Document]:
    """Those of a sweep, or the one that it is."""
    found: list[Document] = document.get("evaluations", [document])
    return found


def csv_text(rows: Iterable[CsvRow]) -> str:
    """CSV text with a header; null is an empty cell, and text that would be a formula begins with an apostrophe."""
    rows = list(rows)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([escape_formula(name) for name, _ in rows[0]])
    writer.writerows([escape_formula(value) for _, value in row] for row in rows)
    return stream.getvalue()


def escape_formula(value: object) -> object:
    """The value itself, numbers as they are; text that a spreadsheet would take for a formula after an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_PREFIXES) else value


def _rates_by_gradient(evaluation: Document) -> Iterator[tuple[float, str, Document]]:
    """Budget, kind of gradient, and what was found with it."""
    for at in evaluation["epsilons"]:
        yield at["epsilon"], "exact" if evaluation["attack"]["stable"] else "ordinary", at
        if "stable" in at:
            yield at["epsilon"], "stable where saturated", at["stable"]


def _attack_cells(evaluation: Document, epsilon: float, kind: str) -> CsvRow:
    attack = evaluation["attack"]
    return [
        ("targeted", attack["targeted"]),
        ("restarts", attack["restarts"]),
        ("epsilon", epsilon),
        ("gradient", kind),
    ]


def _overall_rows(found: Sequence[Document]) -> Iterator[CsvRow]:
    for evaluation in found:
        clean = rate_cells("clean_accuracy", evaluation["clean"]["accuracy"])
        for epsilon, kind, side in _rates_by_gradient(evaluation):
            rates = [cell for name in RATE_NAMES for cell in rate_cells(name, side[name])]
            yield _attack_cells(evaluation, epsilon, kind) + clean + rates + [("leaked", side["leaked"])]


def _class_rows(found: Sequence[Document]) -> Iterator[CsvRow]:
    for evaluation in found:
        for epsilon, kind, side in _rates_by_gradient(evaluation):
            for result in side["per_class"]:
                yield _attack_cells(evaluation, epsilon, kind) + _class_cells(result, evaluation["data"]["classes"])


def _class_cells(result: Document, classes: Sequence[str]) -> CsvRow:
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


def rate_cells(name: str, rate: Document | None) -> CsvRow:
    """A rate as five cells, empty where there is none."""
    parts = ("value", "count", "n", "low", "high")
    return [(name if part == "value" else f"{name}_{part}", rate[part] if rate else None) for part in parts]


def _clean_confusion_rows(found: Sequence[Document]) -> Iterator[CsvRow]:
    evaluation = found[0]  # the same for every targeting rule
    names = evaluation["data"]["classes"]
    for name, line in zip(names, _dense_matrix(evaluation["clean"]["confusion"]), strict=True):
        yield [("label", name), *_count_cells(names, line)]


def _matrix_rows(found: Sequence[Document], key: str, rows: str) -> Iterator[CsvRow]:
    for evaluation in found:
        names = evaluation["data"]["classes"]
        for epsilon, kind, side in _rates_by_gradient(evaluation):
            for name, line in zip(names, _dense_matrix(side[key]), strict=True):
                yield [*_attack_cells(evaluation, epsilon, kind), (rows, name), *_count_cells(names, line)]


def _count_cells(names: Sequence[str], counts: Sequence[int], prefix: str = "") -> CsvRow:
    return [(f"{prefix}{name}", count) for name, count in zip(names, counts, strict=True)]


def _dense_matrix(matrix: Any) -> list[list[int]]:
    if isinstance(matrix, list):
        return matrix
    dense = [[0] * matrix["shape"][1] for _ in range(matrix["shape"][0])]
    for row, column, count in zip(matrix["rows"], matrix["columns"], matrix["counts"], strict=True):
        dense[row][column] = count
    return dense
