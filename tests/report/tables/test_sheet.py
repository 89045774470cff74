"""Tables hold what the document says, with what each rate is a share of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robustbench_fgsm.report.documents import evaluation
from robustbench_fgsm.report.tables import sheet

Measured = Callable[..., dict[str, Any]]


def rows(found: sheet.Sheet) -> dict[Any, tuple[sheet.Cell, ...]]:
    return {row[0]: row[1:] for row in found.rows}


def test_overall_rates_stand_with_their_denominator(measured: Measured) -> None:
    document = measured()
    at = document["epsilons"][0]
    found = rows(evaluation.rates_sheet(document, at))
    assert found["clean accuracy"] == ("all images", 60, document["clean"]["accuracy"])
    assert found["attack success"] == ("right before", 50, at["attack_success_rate"])
    worst = at["per_class"][at["worst_class"]]
    assert found["worst class"] == (worst["name"], worst["n"], worst["robust_accuracy"])
    assert "target hit rate" not in found


def test_targeted_rates_say_so(measured: Measured) -> None:
    document = measured(targeted="next")
    found = rows(evaluation.rates_sheet(document, document["epsilons"][0]))
    assert found["attack success"][0] == "off target"
    assert found["target hit rate"][1] == 60
    assert "leaked labels: wrong before, right after" not in rows(evaluation.gradient_health_sheet(document))


def test_stable_rates_stand_beside_the_ordinary_ones(measured: Measured) -> None:
    document = measured("0.3", scale=300)
    at = document["epsilons"][0]
    made = evaluation.rates_sheet(document, at)
    assert made.columns[-2:] == ("ordinary", "stable")
    assert rows(made)["robust accuracy"][2:] == (at["robust_accuracy"], at["stable"]["robust_accuracy"])
    assert at["stable"]["robust_accuracy"]["count"] < at["robust_accuracy"]["count"]


def test_the_number_of_starts_stands_in_every_title_above_rates(measured: Measured) -> None:
    document = measured("8/255", restarts=2)
    at = document["epsilons"][0]
    found = (
        evaluation.rates_sheet(document, at),
        evaluation.class_rates_sheet(document, at),
        evaluation.rates_by_epsilon_sheet(document),
        evaluation.minimal_epsilon_sheet(document),
    )
    assert all(item.title.endswith("best of 3 starts (R = 2)") for item in found)


def test_of_many_classes_the_least_robust_are_listed(measured: Measured) -> None:
    document = measured(num_classes=30)
    at = document["epsilons"][0]
    made = evaluation.class_rates_sheet(document, at)
    present = [result["robust_accuracy"]["value"] for result in at["per_class"] if result["n"]]
    assert len(at["per_class"]) == 30
    assert [row[3]["value"] for row in made.rows if isinstance(row[3], dict)] == sorted(present)[:20]
    assert "20 least robust (all with --json or --csv)" in made.title


def test_health_counts_what_leaked_at_one_budget_only(measured: Measured) -> None:
    assert "leaked labels: wrong before, right after" in rows(evaluation.gradient_health_sheet(measured()))
    sweep = measured("4,8/255")["evaluations"][0]
    assert rows(evaluation.gradient_health_sheet(sweep)).keys() == {
        "gradient exactly zero",
        "saturated, 1 - p_y < 1e-6",
        "gradient not finite",
    }


def test_smallest_budgets_add_up(measured: Measured) -> None:
    sweep = measured("32,4,16/255")["evaluations"][0]
    found = evaluation.minimal_epsilon_sheet(sweep).rows
    assert [row[0] for row in found] == [4 / 255, 16 / 255, 32 / 255, "none of these"]
    counts = [row[1] for row in found if isinstance(row[1], int)]
    assert sum(counts) == sweep["epsilons"][0]["attack_success_rate"]["n"]
    last = found[-2][3]
    assert isinstance(last, dict)
    assert last["count"] == sum(counts[:-1])


def test_a_matrix_names_its_axes() -> None:
    made = sheet.matrix_sheet("Transition", [[1, 2], [3, 4]], ["a", "b"], sheet.TRANSITION_AXES)
    assert made.title == "Transition: before down, after across"
    assert made.rows == (("0 a", 1, 2), ("1 b", 3, 4))
    names = [f"c{label}" for label in range(101)]
    sparse = {"shape": [101, 101], "rows": [0, 7], "columns": [0, 9], "counts": [5, 3]}
    assert sheet.matrix_sheet("Transition", sparse, names, sheet.TRANSITION_AXES) == sheet.Sheet(
        "Transition: the pairs most often confused (all of them with --json)",
        ("before", "after", "images"),
        (("c7", "c9", 3),),
    )
