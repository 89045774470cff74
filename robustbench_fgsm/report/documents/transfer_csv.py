"""A transfer as CSV, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.transfer import SCHEMA as SCHEMA
from robustbench_fgsm.report.documents.transfer import name_of
from robustbench_fgsm.report.tables.csv import Row, rate_cells, write


def files(document: Document) -> dict[str, str]:
    """CSV text by file name: `models`, `pairs`, and `per_class` where that was counted."""
    tables = {"models": _models(document), "pairs": _pairs(document)}
    classes = list(_classes(document))
    return {
        f"{name}.csv": write(rows) for name, rows in {**tables, **({"per_class": classes} if classes else {})}.items()
    }


def single(document: Document) -> str:
    """One table: a row for each pair at each budget, or for each of its classes where these were counted."""
    return write(list(_classes(document)) or _pairs(document))


def _models(document: Document) -> Iterator[Row]:
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


def _settings(document: Document, cell: Document, at: Document) -> Row:
    models, attack = document["models"], document["attack"]
    return [
        ("source", name_of(models[cell["source"]])),
        ("target", name_of(models[cell["target"]])),
        ("targeted", attack["targeted"]),
        ("restarts", attack["restarts"]),
        ("epsilon", at["epsilon"]),
    ]


def _pairs(document: Document) -> Iterator[Row]:
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            names = ("robust_accuracy", "attack_success_rate", "common_success_rate")
            yield _settings(document, cell, at) + [pair for name in names for pair in rate_cells(name, at[name])]


def _classes(document: Document) -> Iterator[Row]:
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            for result in at["per_class"] or ():
                own: Row = [("label", result["label"]), ("name", result["name"]), ("n", result["n"])]
                rates = [
                    pair
                    for name in ("robust_accuracy", "attack_success_rate")
                    for pair in rate_cells(name, result[name])
                ]
                yield _settings(document, cell, at) + own + rates
