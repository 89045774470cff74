"""Table of rates: no empty column, none that repeats another, and every number at its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robustbench_fgsm.report.attacks_in_runs import attacks_in_runs
from robustbench_fgsm.report.pages.rates_table import COLUMNS, PageTable, rates_table
from robustbench_fgsm.report.tables.text import rate_text
from tests.report.runs import run

Measured = Callable[..., dict[str, Any]]


def table(*documents: dict[str, Any]) -> tuple[PageTable, list[str]]:
    made = rates_table(attacks_in_runs([run(document) for document in documents]))
    return made, [column.key for column in made.columns]


def test_empty_and_repeated_columns_are_left_out(measured: Measured) -> None:
    _, keys = table(measured("4,64/255"))
    assert {"attack", "target_hit_rate", "accuracy_drop"}.isdisjoint(keys)
    assert {"epsilon", "clean_accuracy", "robust_accuracy", "attack_success_rate", "flip_rate"} <= set(keys)


def test_a_column_that_differs_stays(measured: Measured) -> None:
    document = measured("4,64/255")
    document["evaluations"][0]["epsilons"][0]["accuracy_drop"] = {"value": 0.5, "count": 1, "n": 2, "low": 0.1, "high": 0.9}
    assert "accuracy_drop" in table(document)[1]


def test_several_attacks_have_names(measured: Measured) -> None:
    made, keys = table(measured("4,64/255", targeted=("none", "next")))
    assert keys[0] == "attack"
    assert "target_hit_rate" in keys
    assert [row[0].text for row in made.rows] == ["Untargeted", "Untargeted", "Targeted next", "Targeted next"]


def test_cells_are_those_of_the_document(measured: Measured) -> None:
    document = measured("4,64/255")
    made, keys = table(document)
    for row, at in zip(made.rows, document["evaluations"][0]["epsilons"], strict=True):
        assert row[keys.index("robust_accuracy")].text == rate_text(at["robust_accuracy"])
        assert row[keys.index("attack_success_n")].text == f"{at['attack_success_rate']['n']:,}"
    assert len(keys) < len(COLUMNS)
