"""Test the signed-rank test against full enumeration, SciPy, and sign flips."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from robustbench_fgsm.stats.signed_rank import (
    EXACT_SIZE,
    SignedRanks,
    location_shift,
    shift_lower_bound,
    shift_upper_bound,
    signed_rank_p_value,
)

SMALL = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9)


@given(values=SMALL)
def test_exact_p_value_by_enumeration(values: list[float]) -> None:
    """All signs of the differences, with ties and zeros, are equally likely."""
    own = SignedRanks.of(values)
    magnitudes = np.abs(values)
    totals = [SignedRanks.of(magnitudes * signs).total for signs in itertools.product((-1, 1), repeat=len(values))]
    expected = np.mean([total >= own.total - 1e-9 for total in totals]) if len(own.ranks) else 1.0
    assert own.p_value() == pytest.approx(expected)


def test_normal_p_value_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 400)
    assert len(values) > EXACT_SIZE
    expected = wilcoxon(values, alternative="greater", correction=True, method="approx").pvalue
    assert signed_rank_p_value(values) == pytest.approx(expected, rel=0.02)


def test_p_value_of_clear_differences_is_small_and_not_0() -> None:
    small, large = (signed_rank_p_value(np.arange(1.0, n + 1)) for n in (200, 400))
    assert 0 < large < small < 1e-16


@given(values=SMALL)
def test_shift_is_the_median_of_means_of_two(values: list[float]) -> None:
    means = [(values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i, len(values))]
    assert location_shift(values) == pytest.approx(np.median(means), abs=1e-6)


@given(values=st.lists(st.floats(-3, 3), min_size=8, max_size=20), alpha=st.sampled_from([0.05, 0.01]))
def test_bounds_agree_with_the_test(values: list[float], alpha: float) -> None:
    low, high = shift_lower_bound(values, alpha), shift_upper_bound(values, alpha)
    assert low <= location_shift(values) + 1e-6
    assert high >= location_shift(values) - 1e-6
    if math.isfinite(low):
        assert signed_rank_p_value(values, low - 1e-3) < alpha or len(set(values)) < len(values)
        assert signed_rank_p_value(values, low + 1e-3) >= alpha or len(set(values)) < len(values)


def test_few_differences_have_no_bound() -> None:
    assert shift_lower_bound([1.0, 2.0, 3.0], 0.05) == -math.inf
    assert shift_upper_bound([], 0.05) == math.inf
    assert location_shift([]) == 0
    assert signed_rank_p_value([]) == 1
    assert signed_rank_p_value([0.0, 0.0]) == 1


@pytest.mark.parametrize("n", [5, 20, 100])
def test_level_under_sign_flips(n: int) -> None:
    """Skewed magnitudes with ties and zeros: the rate of rejection stays at the level within three standard errors."""
    random, trials, alpha = np.random.default_rng(n), 1500, 0.05
    magnitudes = np.rint(random.exponential(3, (trials, n)))
    signs = random.choice([-1, 1], (trials, n))
    rejected = np.mean([signed_rank_p_value(row) < alpha for row in magnitudes * signs])
    assert rejected <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)


@pytest.mark.parametrize("n", [EXACT_SIZE + 1, 100, 151])
@pytest.mark.parametrize("pattern", ["all", "two values", "five values", "few large", "few small", "none"])
def test_exact_level_above_the_exact_size(n: int, pattern: str) -> None:
    """Sum the chances of all sums of ranks: the test rejects with probability at most its level, whatever the ties."""
    place = np.arange(n)
    magnitudes = {
        "all": np.ones(n),
        "two values": 1.0 + place % 2,
        "five values": 1.0 + place % 5,
        "few large": np.where(place < 0.9 * n, 1.0, 5.0 + place),
        "few small": np.where(place < 0.9 * n, 1000.0, 5.0 + place),
        "none": 1.0 + place,
    }[pattern]
    ranks = SignedRanks.of(magnitudes).ranks
    chances = np.ones(1)
    for step in np.rint(2 * ranks).astype(int):  # twice the sum of positive ranks
        chances = (np.pad(chances, (0, step)) + np.pad(chances, (step, 0))) / 2
    reached = np.flatnonzero(chances)
    for alpha in (0.05, 0.05 / 11, 0.05 / 200):
        first = bisect_left(reached, True, key=lambda place: SignedRanks(float(place - ranks.sum()), ranks, n).p_value() < alpha)
        assert 0 < chances[reached[first:]].sum() <= alpha


def test_images_needed_give_the_promised_power() -> None:
    random = np.random.default_rng(1)
    pilot = random.normal(0.25, 1, 20_000)
    needed = math.ceil(SignedRanks.of(pilot).images_needed())
    found = np.mean([signed_rank_p_value(random.normal(0.25, 1, needed)) < 0.05 for _ in range(600)])
    assert found == pytest.approx(0.8, abs=0.06)
    assert SignedRanks.of(-pilot).images_needed() == math.inf
