"""Evaluations and sweeps in the terminal: readable at 80 columns, nothing cut, nothing said twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from robustbench_fgsm.data.sources.fashion_mnist import CLASS_NAMES
from robustbench_fgsm.evaluation.thresholds import apply_thresholds
from robustbench_fgsm.options import Thresholds
from robustbench_fgsm.report.documents.evaluation import (
    class_rates_sheet,
    evaluation_sheets,
    gradient_health_sheet,
    minimal_epsilon_sheet,
    rates_by_epsilon_sheet,
    rates_sheet,
    smallest_drop_text,
)
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from tests.report.printed import printed, unwrapped
from tests.report.runs import widest

Document = dict[str, Any]
Measured = Callable[..., Document]


def test_fits_80_columns_without_cuts(measured: Measured) -> None:
    document = widest(measured("0.3", scale=300))
    text = printed(document)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count(" 10000" * 10) == 30
    for label, name in enumerate(CLASS_NAMES):
        assert len(re.findall(rf"^{label} {re.escape(name)} ", text, re.MULTILINE)) >= 4


def test_shows_every_table_and_note(measured: Measured) -> None:
    text = unwrapped(measured())
    for title in ("Confusion before the attack", "Confusion after it", "Transition of predictions", "By class", "Health"):
        assert text.count(title) == 1
    assert "epsilon 8/255, targeted none, loss ce" in text
    for once in (INTERVAL_NOTE, LIMITATION_NOTE, "leaked labels"):
        assert text.count(once) == 1
    assert text.count("worst class") == 2  # in the table, and in the last line
    assert "stable" not in text


def test_explains_stable_rates(measured: Measured) -> None:
    text = unwrapped(measured("0.3", scale=300))
    assert "ordinary stable" in text
    assert text.count("Stable: cross-entropy without its cancellation") == 1
    assert text.count("By class") == 2
    assert "Warning: saturation" in text


def test_the_random_start_is_named(measured: Measured) -> None:
    document = measured("8/255", restarts=2)
    text = unwrapped(document)
    assert f"R = 2 random starts, seed 0: {document['attack']['start']}" in text
    assert "Rates in per cent, with their 95 % interval; best of 3 starts (R = 2)" in text


def test_empty_rates_are_not_applicable(measured: Measured) -> None:
    document = measured()
    document["epsilons"][0]["flip_rate"] = {"value": None, "count": 0, "n": 0, "low": None, "high": None}
    assert "flip rate all images 0 n/a" in unwrapped(document)


def test_shows_the_audit_of_a_plan(measured: Measured) -> None:
    document = measured()
    document["plan"]["audit"] = {"audited": 500, "differing": 0, "at_most": 0.006, "confidence": 0.95}
    assert "plain network: audited 500, differing 0, at most 0.6 % (95 %)." in unwrapped(document)


def test_shows_gates(measured: Measured) -> None:
    text = unwrapped(apply_thresholds(measured("64/255"), Thresholds(min_robust_accuracy=0.0, max_asr=0.0)))
    assert "PASSED: robust accuracy" in text
    assert "FAILED: attack success rate" in text
    assert "wanted <= 0 %" in text


def test_shows_invalid_reasons(measured: Measured) -> None:
    document = measured() | {"invalid_reasons": ["no gradient was finite"], "warnings": ["labels leak"]}
    text = unwrapped(document)
    assert "INVALID: no gradient was finite" in text
    assert "Warning: labels leak" in text


def test_markup_in_names_stays_literal(measured: Measured) -> None:
    document = measured()
    document["data"]["classes"][0] = document["epsilons"][0]["per_class"][0]["name"] = "[red]:smile:"
    text = printed(document)
    assert len(re.findall(r"^0 \[red\]:smile: ", text, re.MULTILINE)) == 4


def rows(found: Sheet) -> dict[Any, tuple[Cell, ...]]:
    return {row[0]: row[1:] for row in found.rows}


def test_overall_rates_show_their_denominator(measured: Measured) -> None:
    document = measured()
    at = document["epsilons"][0]
    found = rows(rates_sheet(document, at))
    assert found["clean accuracy"] == ("all images", 60, document["clean"]["accuracy"])
    assert found["attack success"] == ("right before", 50, at["attack_success_rate"])
    worst = at["per_class"][at["worst_class"]]
    assert found["worst class"] == (worst["name"], worst["n"], worst["robust_accuracy"])
    assert "target hit rate" not in found


def test_targeted_rates_say_so(measured: Measured) -> None:
    document = measured(targeted="next")
    found = rows(rates_sheet(document, document["epsilons"][0]))
    assert found["attack success"][0] == "off target"
    assert found["target hit rate"][1] == 60
    assert "leaked labels: wrong before, right after" not in rows(gradient_health_sheet(document))


def test_stable_rates_beside_ordinary_ones(measured: Measured) -> None:
    document = measured("0.3", scale=300)
    at = document["epsilons"][0]
    made = rates_sheet(document, at)
    assert made.columns[-2:] == ("ordinary", "stable")
    assert rows(made)["robust accuracy"][2:] == (at["robust_accuracy"], at["stable"]["robust_accuracy"])
    assert at["stable"]["robust_accuracy"]["count"] < at["robust_accuracy"]["count"]


def test_titles_name_the_number_of_starts(measured: Measured) -> None:
    document = measured("8/255", restarts=2)
    at = document["epsilons"][0]
    found = (
        rates_sheet(document, at),
        class_rates_sheet(document, at),
        rates_by_epsilon_sheet(document),
        minimal_epsilon_sheet(document),
    )
    assert all(item.title.endswith("best of 3 starts (R = 2)") for item in found)


def test_lists_the_least_robust_classes(measured: Measured) -> None:
    document = measured(num_classes=30)
    at = document["epsilons"][0]
    made = class_rates_sheet(document, at)
    present = [result["robust_accuracy"]["value"] for result in at["per_class"] if result["n"]]
    assert len(at["per_class"]) == 30
    assert [row[3]["value"] for row in made.rows if isinstance(row[3], dict)] == sorted(present)[:20]
    assert "20 least robust (all with --json or --csv)" in made.title


def test_counts_leaked_labels_at_one_budget(measured: Measured) -> None:
    assert "leaked labels: wrong before, right after" in rows(gradient_health_sheet(measured()))
    sweep = measured("4,8/255")["evaluations"][0]
    assert rows(gradient_health_sheet(sweep)).keys() == {
        "gradient exactly zero",
        "saturated, 1 - p_y < 1e-6",
        "gradient not finite",
    }


def test_smallest_budgets_add_up(measured: Measured) -> None:
    sweep = measured("32,4,16/255")["evaluations"][0]
    found = minimal_epsilon_sheet(sweep).rows
    assert [row[0] for row in found] == [4 / 255, 16 / 255, 32 / 255, "none of these"]
    counts = [row[1] for row in found if isinstance(row[1], int)]
    assert sum(counts) == sweep["epsilons"][0]["attack_success_rate"]["n"]
    last = found[-2][3]
    assert isinstance(last, dict)
    assert last["count"] == sum(counts[:-1])


def test_distances_have_a_table(measured: Callable[..., Document]) -> None:
    document = measured(distance=True)
    sheets = {sheet.name: sheet for sheet in evaluation_sheets(document)}
    assert [row[0] for row in sheets["distance"].rows[:3]] == ["10 % of the images", "25 % of the images", "50 % of the images"]
    with_images = sum(one["n"] > 0 for one in document["distance"]["per_class"])
    assert 0 < with_images < len(document["data"]["classes"])
    assert len(sheets["distance"].rows) == 5 + with_images
    assert "distance" not in {sheet.name for sheet in evaluation_sheets(measured())}


def test_the_smallest_drop_falls_with_the_number_of_different_images() -> None:
    text = smallest_drop_text({"n": 500})
    assert text == "With 500 images a gate finds drops of accuracy below 1.7 points in fewer than 4 of 5 cases."
    assert smallest_drop_text({"n": 1000, "repeats": 500}) == text.replace("images", "different images")
    assert "below 0.1 points" in smallest_drop_text({"n": 10_000})
    assert smallest_drop_text({"n": 1}) == ""


def test_the_worst_class_stands_beside_the_lowest_by_chance(measured: Measured) -> None:
    document = measured()
    (at,) = document["epsilons"]
    present = sum(result["n"] > 0 for result in at["per_class"])
    assert ("lowest by chance", f"{present} classes", None, at["worst_class_by_chance"]) in rates_sheet(document, at).rows
    sheet = rates_by_epsilon_sheet(document)
    assert sheet.rows[0][sheet.columns.index("by chance")] == at["worst_class_by_chance"]
    del at["worst_class_by_chance"]  # an older document
    assert "by chance" not in unwrapped(document)
