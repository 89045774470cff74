"""Rates, budgets, counts and names as text."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.report.tables.text import count_text, epsilon_text, model_text, rate_text, shorten, success_denominator

Document = dict[str, Any]


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        ({"value": None, "count": 0, "n": 0, "low": None, "high": None}, "n/a"),
        ({"value": 0.12345, "count": 1, "n": 8, "low": 0.1, "high": 0.25}, "12.3 [10.0, 25.0]"),
        ({"value": 1.0, "count": 8, "n": 8, "low": 0.6756, "high": 1.0}, "100.0 [67.6, 100.0]"),
        ({"value": -0.2, "count": -1, "n": 5, "low": None, "high": None}, "-20.0"),
    ],
)
def test_rates(rate: Document, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [(8 / 255, "8/255"), (1 / 255, "1/255"), (1.0, "1"), (0.03, "0.03"), (0.0, "0"), (2.0, "2"), (0.5 / 255, "0.00196078")],
)
def test_budgets(epsilon: float, text: str) -> None:
    assert epsilon_text(epsilon) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 images"), (1, "1 image"), (1000, "1,000 images")])
def test_counts(count: int, text: str) -> None:
    assert count_text(count, "image") == text


@pytest.mark.parametrize(("text", "shown"), [("Trouser", "Trouser"), ("Ankle boot", "Ankle …")])
def test_long_names_are_shortened(text: str, shown: str) -> None:
    assert shorten(text, 7) == shown


def test_model() -> None:
    assert model_text({"spec": "mlp300", "weights": "standard"}) == "mlp300 (standard)"


@pytest.mark.parametrize(("rule", "images"), [("none", "right before"), ("next", "off target")])
def test_success_denominator(rule: str, images: str) -> None:
    assert success_denominator({"targeted": rule}) == images
