"""Test the reasons and warnings that follow from a tally."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robustbench_fgsm.evaluation.document import tally_invalid_reasons, tally_warnings
from robustbench_fgsm.stats.tally import Tally


def tally(
    *,
    right_before: int = 900,
    right_after: int = 500,
    targeted: bool = False,
    zero: int = 0,
    nonfinite: int = 0,
    saturated: int = 0,
) -> Tally:
    """A thousand images of two classes."""
    before = np.array([[right_before, 1_000 - right_before], [0, 0]])
    after = np.array([[right_after, 1_000 - right_after], [0, 0]])
    return replace(
        Tally.empty(2, targeted=targeted),
        clean=before,
        images=before.sum(1),
        adversarial=after,
        zero_gradient=zero,
        nonfinite_gradient=nonfinite,
        saturated=saturated,
    )


def test_a_sound_tally_has_no_warning() -> None:
    assert tally_invalid_reasons([tally()]) == []
    assert tally_warnings(tally()) == []


def test_an_empty_tally_has_no_warning() -> None:
    empty = Tally.empty(2, targeted=False)
    assert tally_invalid_reasons([empty]) == tally_warnings(empty) == []


def test_nonfinite_gradient_is_a_reason() -> None:
    (reason,) = tally_invalid_reasons([tally(nonfinite=1)])
    assert reason.startswith("1 of 1,000 images have a gradient that is not finite")


def test_one_percent_gives_no_warning() -> None:
    assert tally_warnings(tally(zero=10, saturated=10)) == []


@pytest.mark.parametrize(("counted", "name"), [(tally(zero=11), "gradient masking"), (tally(saturated=11), "saturation")])
def test_over_one_percent_gives_a_warning(counted: Tally, name: str) -> None:
    (warning,) = tally_warnings(counted)
    assert warning.startswith(f"{name}: 1.1% [")
    assert "of 1,000 images" in warning


def test_risen_accuracy_gives_a_warning() -> None:
    (warning,) = tally_warnings(tally(right_before=500, right_after=501))
    assert warning.startswith("accuracy rose under attack, from 50.0% [")


def test_targeted_accuracy_may_rise() -> None:
    assert tally_warnings(tally(right_before=500, right_after=500)) == []
    assert tally_warnings(tally(right_before=500, right_after=900, targeted=True)) == []


def test_all_problems_give_warnings() -> None:
    assert len(tally_warnings(tally(right_before=100, right_after=200, zero=500, saturated=500))) == 3
