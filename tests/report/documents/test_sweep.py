"""A sweep in the terminal: readable at 80 columns, nothing cut, nothing said twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robustbench_fgsm.evaluation.thresholds import find_epsilon_for_success
from robustbench_fgsm.report.documents.sentences import INTERVAL_NOTE, LIMITATION_NOTE
from tests.report.printed import printed, unwrapped
from tests.report.runs import widest

Measured = Callable[..., dict[str, Any]]


def test_fits_80_columns_without_cuts(measured: Measured) -> None:
    document = widest(measured("0.1,0.3", scale=300, targeted=("none", "next")))
    text = printed(find_epsilon_for_success(document, 0.5))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "T-shirt/top" in text


def test_a_sweep_shows_every_rule(measured: Measured) -> None:
    document = measured("4,64/255", targeted=("none", "next"))
    text = printed(document)
    assert "A untargeted\n" in text
    assert "B targeted next\n" in text
    flat = " ".join(text.split())
    assert flat.count("Smallest epsilon that fools") == flat.count("Area under the curve") == 2
    assert flat.count(INTERVAL_NOTE) == flat.count(LIMITATION_NOTE) == 1
    for found in document["evaluations"]:
        assert f"{100 * found['area_under_curve']:.1f} % mean robust accuracy from 0 to 64/255" in flat


@pytest.mark.parametrize(("rate", "place"), [(0.0, "4/255"), (1.0, "none of these")])
def test_epsilon_for_a_success_rate(measured: Measured, rate: float, place: str) -> None:
    text = unwrapped(find_epsilon_for_success(measured("4,8/255"), rate))
    assert f"First epsilon with {100 * rate:g} % attack success: {place}." in text


def test_a_zero_budget_has_no_area(measured: Measured) -> None:
    document = {"schema": "rfgsm.sweep/1", "evaluations": [measured("0")], "warnings": [], "invalid_reasons": []}
    assert "Area" not in printed(document)
