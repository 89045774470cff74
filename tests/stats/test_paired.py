"""The lead of one attack over another on the same images, its interval, and its tests."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, multinomial, norm

from robustbench_fgsm.stats.paired import PairedCounts


def test_counts_of_two_attacks() -> None:
    first, second = np.array([1, 1, 0, 0, 0], bool), np.array([1, 0, 1, 1, 0], bool)
    pair = PairedCounts.of(first, second)
    assert pair == PairedCounts(5, both=1, first_only=1, second_only=2)
    assert (pair.first_rate.count, pair.second_rate.count, pair.rate_difference) == (2, 3, 0.2)


def test_the_interval_by_its_formula() -> None:
    """Agresti and Min 2005: half an image more in each cell, then Wald's."""
    n, gained, lost = 52, 12.5, 2.5
    lead = (gained - lost) / n
    half = norm.ppf(0.975) * ((gained + lost - (gained - lost) ** 2 / n) ** 0.5) / n
    assert PairedCounts(50, 36, 2, 12).difference_interval == pytest.approx((lead - half, lead + half), abs=1e-12)


@pytest.mark.parametrize("shares", [(0.5, 0.05, 0.2), (0.1, 0.02, 0.05), (0.4, 0.15, 0.15), (0.0, 0.0, 0.6)])
def test_the_interval_holds_the_lead_as_often_as_it_says(shares: tuple[float, float, float]) -> None:
    """Over all tables of 25 images, by their probabilities."""
    n, covered = 25, 0.0
    chances = multinomial(n, [*shares, 1 - sum(shares)])
    for both, first, second in product(range(n + 1), repeat=3):
        if both + first + second <= n:
            found = PairedCounts(n, both, first, second).difference_interval
            if found and found[0] <= shares[2] - shares[1] <= found[1]:
                covered += float(chances.pmf([both, first, second, n - both - first - second]))
    assert covered > 0.94


def test_sides_change_its_sign_and_nothing_else() -> None:
    one, other = PairedCounts(40, 10, 3, 9).difference_interval, PairedCounts(40, 10, 9, 3).difference_interval
    assert one is not None
    assert other == pytest.approx((-one[1], -one[0]), abs=1e-12)


def test_mcnemar_is_the_binomial_test_of_discordant_images() -> None:
    assert PairedCounts(100, 50, 9, 1).mcnemar_p_value() == pytest.approx(binom.sf(8, 10, 0.5))
    assert PairedCounts(100, 50, 0, 0).mcnemar_p_value() == 1.0


def test_a_lead_that_is_there_is_not_doubted_and_one_that_is_not_is() -> None:
    assert PairedCounts(100, 5, 0, 60).difference_at_least_p_value(0.1) > 0.999
    assert PairedCounts(100, 50, 1, 1).difference_at_least_p_value(0.1) < 1e-6


def test_of_no_images_there_is_neither_lead_nor_interval() -> None:
    assert PairedCounts(0, 0, 0, 0).to_dict() == {"value": None, "low": None, "high": None}
