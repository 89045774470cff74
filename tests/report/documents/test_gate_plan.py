"""Summary of a planned gate."""

from __future__ import annotations

from typing import Any

from tests.report.printed import printed, unwrapped

Document = dict[str, Any]


def document(*, paired: bool = True) -> Document:
    side = {"model": {"spec": "mlp300", "weights": "standard"}, "path": "results/pilot"}
    criteria = [
        {"criterion": "two rates", "needed": [66_616, None], "smallest": None},
        {"criterion": "McNemar", "needed": [20_753, 406], "smallest": 0.031},
        {"criterion": "distance", "needed": [1571, 42], "smallest": 0.012},
    ][: 3 if paired else 2]
    budget = {
        "targeted": "next",
        "epsilon": 8 / 255,
        "label": None,
        "accuracy": {"value": 0.57, "low": 0.53, "high": 0.61, "count": 285, "n": 500},
        "gained": 0.06,
        "shifts": [0.5 / 255, None],
        "criteria": criteria,
    }
    return {
        "schema": "rfgsm.gate-plan/1",
        "pilots": [side] * (2 if paired else 1),
        "data": {"spec": "fashion-mnist"},
        "attacks": [{"norm": "inf"}],
        "n": 500,
        "warnings": ["600 of 800 images repeat another"],
        "drops": [0.02, 0.1],
        "max_drop": 0.01,
        "max_decrease": 0.0,
        "power": 0.8,
        "level": 0.05 / 22,
        "budgets": [budget],
        "classes": [classes(label, budget) for label in range(3)],
        "invalid_reasons": [],
    }


def classes(label: int, budget: Document) -> Document:
    """Plan of a class whose images show the more the higher its label."""
    rate = budget["accuracy"] | {"n": 50}
    criteria = [plan | {"smallest": None if not label else 0.3 - 0.1 * label} for plan in budget["criteria"]]
    return budget | {"label": label, "name": f"class {label}", "accuracy": rate, "criteria": criteria}


def test_every_class_has_its_smallest_drop_the_hardest_first() -> None:
    rows = [line.split() for line in printed(document()).splitlines()]
    found = [row for row in rows if row[:1] == ["class"] and len(row) > 2 and row[2] == "50"]
    assert [row[1] for row in found] == ["0", "1", "2"]
    assert found[0][-3:] == ["none"] * 3
    assert found[1][-2:] == ["20.0", "points"]


def test_every_drop_has_a_row() -> None:
    text = printed(document())
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text.splitlines()]
    assert ["2", "points", "66,616", "20,753", "1,571", "0.50"] in rows
    assert ["10", "points", "n/a", "406", "42"] in rows
    assert ["shown", "by", "500", "none", "3.1", "points", "1.2", "points"] in rows
    expected = (
        "Smallest drop that 500 images show at epsilon 8/255, targeted next: none by two rates, 3.1 points by McNemar, 1.2 points"
    )
    assert expected in unwrapped(document())


def test_one_pilot_says_what_is_missing() -> None:
    text = unwrapped(document(paired=False))
    assert "the least possible number, if no image is gained" in text
    assert "Distance needs two pilot runs" in text
    assert "least possible" not in unwrapped(document())
