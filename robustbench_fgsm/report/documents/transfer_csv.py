"""CSV files of a transfer document."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.csv import CsvRow, csv_text, rate_cells
from robustbench_fgsm.report.tables.text import model_text


def csv_files(document: Document) -> dict[str, str]:
    """Return CSV text by file name: `models`, `pairs`, and `per_class` if the classes were counted."""
    tables = {"models": list(_model_rows(document)), "pairs": list(_pair_rows(document)), "per_class": list(_class_rows(document))}
    return {f"{name}.csv": csv_text(rows) for name, rows in tables.items() if rows}


def single_csv(document: Document) -> str:
    """Return one table as CSV: a row for each pair at each budget, or for each of its classes if they were counted."""
    return csv_text(list(_class_rows(document)) or _pair_rows(document))


def _model_rows(document: Document) -> Iterator[CsvRow]:
    for place, model in enumerate(document["models"]):
        yield [
            ("number", place),
            ("spec", model["spec"]),
            ("weights", model["weights"]),
            ("parameters", model["parameters"]),
            ("sha256", model["sha256"]),
            ("source", int(place in document["sources"])),
            ("target", int(place in document["targets"])),
            *rate_cells("clean_accuracy", model["clean_accuracy"]),
        ]


def _pair_cells(document: Document, cell: Document, at: Document) -> CsvRow:
    models, attack = document["models"], document["attack"]
    return [
        ("source", model_text(models[cell["source"]])),
        ("target", model_text(models[cell["target"]])),
        ("targeted", attack["targeted"]),
        ("restarts", attack["restarts"]),
        ("epsilon", at["epsilon"]),
    ]


def _pair_rows(document: Document) -> Iterator[CsvRow]:
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            names = ("robust_accuracy", "attack_success_rate", "common_success_rate")
            yield _pair_cells(document, cell, at) + [pair for name in names for pair in rate_cells(name, at[name])]


def _class_rows(document: Document) -> Iterator[CsvRow]:
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            for result in at["per_class"] or ():
                own: CsvRow = [("label", result["label"]), ("name", result["name"]), ("n", result["n"])]
                rates = [pair for name in ("robust_accuracy", "attack_success_rate") for pair in rate_cells(name, result[name])]
                yield _pair_cells(document, cell, at) + own + rates
