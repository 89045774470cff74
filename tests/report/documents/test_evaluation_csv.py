"""CSV files of evaluations and sweeps."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

from robustbench_fgsm.report.documents.evaluation_csv import csv_files, single_csv

Measured = Callable[..., dict[str, Any]]


def read(text: str) -> list[dict[str, str]]:
    rows = list(csv.reader(io.StringIO(text)))
    assert {len(row) for row in rows} == {len(rows[0])}
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_class_names_are_disarmed_and_quoted(measured: Measured) -> None:
    document = measured()
    names = document["data"]["classes"]
    names[:2] = ["=cmd|' /C calc'!A0", 'a "b", c']
    for result, name in zip(document["epsilons"][0]["per_class"], names, strict=True):
        result["name"] = name
    per_class = read(csv_files(document)["per_class.csv"])
    assert per_class[0]["name"] == "'=cmd|' /C calc'!A0"
    assert per_class[1]["name"] == 'a "b", c'
    header = csv_files(document)["confusion.csv"].splitlines()[0]
    assert "'=cmd" in header
    assert ",=cmd" not in header


def test_tables_match_the_document(measured: Measured) -> None:
    document = measured("0.3", scale=300)
    at = document["epsilons"][0]
    found = {name: read(text) for name, text in csv_files(document).items()}
    assert found.keys() == {"rates.csv", "per_class.csv", "clean_confusion.csv", "confusion.csv", "transition.csv"}
    assert [row["gradient"] for row in found["rates.csv"]] == ["ordinary", "stable where saturated"]
    for row, side in zip(found["rates.csv"], (at, at["stable"]), strict=True):
        assert float(row["robust_accuracy"]) == side["robust_accuracy"]["value"]
        assert int(row["attack_success_rate_n"]) == side["attack_success_rate"]["n"]
        assert row["target_hit_rate"] == ""
    names = document["data"]["classes"]
    assert [[int(row[name]) for name in names] for row in found["clean_confusion.csv"]] == document["clean"]["confusion"]
    assert [[int(row[name]) for name in names] for row in found["confusion.csv"][:10]] == at["confusion"]
    assert [[int(row[name]) for name in names] for row in found["transition.csv"][10:]] == at["stable"]["transition"]
    assert [int(row["n"]) for row in found["per_class.csv"][:10]] == [result["n"] for result in at["per_class"]]


def test_single_file_has_all_rows(measured: Measured) -> None:
    document = measured("4,64/255", targeted=("none", "next"))
    rows = read(single_csv(document))
    assert len(rows) == 2 * 2 * 10
    assert {row["targeted"] for row in rows} == {"none", "next"}
    last, names = document["evaluations"][1], document["evaluations"][1]["data"]["classes"]
    assert [int(rows[-1][f"after: {name}"]) for name in names] == last["epsilons"][1]["confusion"][9]
    assert [int(rows[-1][f"before: {name}"]) for name in names] == last["clean"]["confusion"][9]
    assert float(rows[-1]["epsilon"]) == 64 / 255


def test_sparse_matrices_and_missing_rates(measured: Measured) -> None:
    document = measured(num_classes=101)
    found = {name: read(text) for name, text in csv_files(document).items()}
    assert len(found["confusion.csv"]) == 101
    assert sum(int(row[name]) for row in found["confusion.csv"] for name in document["data"]["classes"]) == 60
    assert any(row["robust_accuracy"] == "" and row["n"] == "0" for row in found["per_class.csv"])


def test_classes_with_equal_names(measured: Measured) -> None:
    document = measured()
    document["data"]["classes"][:3] = ["crane", "crane", "epsilon"]
    rows = list(csv.reader(io.StringIO(csv_files(document)["confusion.csv"])))
    assert len(rows[0]) == 5 + 10
    assert [int(cell) for cell in rows[1][5:]] == document["epsilons"][0]["confusion"][0]
