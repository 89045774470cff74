"""The verdict of a gate: how often it is wrong, and what it says of a few pairs."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_fgsm.runs.gate import assess_drops
from robustbench_fgsm.runs.paired import PairedRunCounts
from robustbench_fgsm.stats.paired import drop_p_values, holm

TRIALS, CLASSES, IMAGES, ALLOWED, ALPHA = 4000, 5, 120, 0.02, 0.05


def family(drop: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lost and gained (TRIALS, CLASSES + 1) of classes that all drop by so much, and of all their images; n (CLASSES + 1)."""
    changes = [drop + 0.06, 0.06, 1 - drop - 0.12]
    drawn = np.random.default_rng(seed).multinomial(IMAGES, changes, (TRIALS, CLASSES))
    whole = np.concatenate([drawn.sum(1, keepdims=True), drawn], axis=1)
    return whole[..., 0], whole[..., 1], np.array([CLASSES * IMAGES, *[IMAGES] * CLASSES])


def failures(drop: float) -> float:
    """The share of gates that fail where the true drop is this one."""
    lost, gained, n = family(drop, seed=0)
    p = drop_p_values(lost, gained, n, ALLOWED)
    return float(np.mean([holm(row, ALPHA)[0].any() for row in p]))


def test_false_positive_rate_is_at_most_alpha() -> None:
    error = 3 * (ALPHA * (1 - ALPHA) / TRIALS) ** 0.5
    assert 0.005 < failures(ALLOWED) <= ALPHA + error
    assert failures(ALLOWED + 0.1) > 0.95


def at(lost: int, gained: int, n: int, label: int | None = None) -> PairedRunCounts:
    return PairedRunCounts("none", 0.1, label, n, lost + (n - lost - gained) // 2, lost, gained)


@pytest.mark.parametrize(
    ("lost", "gained", "n", "exceeds", "within"),
    [
        (0, 0, 10_000, False, True),
        (0, 0, 1, False, False),
        (1, 0, 1, False, False),
        (100, 0, 100, True, False),
        (0, 100, 100, False, True),
        (300, 280, 1000, False, False),
    ],
)
def test_a_single_place(lost: int, gained: int, n: int, exceeds: bool, within: bool) -> None:
    (drop,) = assess_drops([at(lost, gained, n)], ALLOWED)
    assert (drop.exceeds, drop.within) == (exceeds, within) == (drop.low > ALLOWED, drop.high < ALLOWED)


def test_more_places_need_more_evidence() -> None:
    alone, other = at(22, 4, 300), at(0, 0, 300)
    assert assess_drops([alone], ALLOWED)[0].exceeds
    assert not assess_drops([alone, *[other] * 30], ALLOWED)[0].exceeds
    for drop in assess_drops([at(90, 4, 300), alone, other, at(0, 40, 300)], ALLOWED):
        assert (drop.exceeds, drop.within) == (drop.low > ALLOWED, drop.high < ALLOWED)
