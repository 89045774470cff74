"""Test paired differences against published intervals, and by enumerating every outcome."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy.special import gammaln, xlogy
from scipy.stats import binom, multinomial, norm

from robustbench_fgsm.stats import paired
from robustbench_fgsm.stats.paired import (
    PairedCounts,
    detectable_drop,
    drop_images_needed,
    drop_lower_bounds,
    drop_p_values,
    drop_upper_bounds,
    holm,
)


def test_counts_two_attacks() -> None:
    first, second = np.array([1, 1, 0, 0, 0], bool), np.array([1, 0, 1, 1, 0], bool)
    pair = PairedCounts.of(first, second)
    assert pair == PairedCounts(5, both=1, first_only=1, second_only=2)
    assert (pair.first_rate.count, pair.second_rate.count, pair.rate_difference) == (2, 3, 0.2)


def test_interval_by_its_formula() -> None:
    """Agresti and Min 2005: half an image more in each cell, then Wald's."""
    n, gained, lost = 52, 12.5, 2.5
    lead = (gained - lost) / n
    half = norm.ppf(0.975) * ((gained + lost - (gained - lost) ** 2 / n) ** 0.5) / n
    assert PairedCounts(50, 36, 2, 12).difference_interval == pytest.approx((lead - half, lead + half), abs=1e-12)


@pytest.mark.parametrize("shares", [(0.5, 0.05, 0.2), (0.1, 0.02, 0.05), (0.4, 0.15, 0.15), (0.0, 0.0, 0.6)])
def test_interval_coverage(shares: tuple[float, float, float]) -> None:
    """Over all tables of 25 images, by their probabilities."""
    n, covered = 25, 0.0
    chances = multinomial(n, [*shares, 1 - sum(shares)])
    for both, first, second in product(range(n + 1), repeat=3):
        if both + first + second <= n:
            found = PairedCounts(n, both, first, second).difference_interval
            if found and found[0] <= shares[2] - shares[1] <= found[1]:
                covered += float(chances.pmf([both, first, second, n - both - first - second]))
    assert covered > 0.94


def test_swapped_attacks_change_the_sign() -> None:
    one, other = PairedCounts(40, 10, 3, 9).difference_interval, PairedCounts(40, 10, 9, 3).difference_interval
    assert one is not None
    assert other == pytest.approx((-one[1], -one[0]), abs=1e-12)


def test_mcnemar_is_a_binomial_test() -> None:
    assert PairedCounts(100, 50, 9, 1).mcnemar_p_value() == pytest.approx(binom.sf(8, 10, 0.5))
    assert PairedCounts(100, 50, 0, 0).mcnemar_p_value() == 1.0


def test_difference_at_least() -> None:
    assert PairedCounts(100, 5, 0, 60).difference_at_least_p_value(0.1) > 0.999
    assert PairedCounts(100, 50, 1, 1).difference_at_least_p_value(0.1) < 1e-6


def test_no_images() -> None:
    assert PairedCounts(0, 0, 0, 0).to_dict() == {"value": None, "low": None, "high": None}


def test_published_interval() -> None:
    """Airway hyper-responsiveness, Bentur et al. 2009, as in Fagerland, Lydersen and Laake 2014 (Stat. Med. 33, 2850)."""
    assert round(float(drop_lower_bounds(1, 7, 21, 0.025, continuity_correction=False)), 3) == -0.517
    assert round(float(drop_upper_bounds(1, 7, 21, 0.025, continuity_correction=False)), 3) == -0.026


def worst_level(n: int, drop: float, alpha: float) -> float:
    """How often a true drop is rejected at the worst of many shares of gains, by summing over every outcome."""
    lost, gained = (side.ravel() for side in np.indices((n + 1, n + 1)))
    lost, gained = lost[lost + gained <= n], gained[lost + gained <= n]
    rejected = drop_p_values(lost, gained, n, drop) < alpha
    lost, gained, same = lost[rejected], gained[rejected], (n - lost - gained)[rejected]
    ways = gammaln(n + 1) - gammaln(lost + 1) - gammaln(gained + 1) - gammaln(same + 1)
    least, most = max(0.0, -drop), (1 - drop) / 2
    shares = least + (most - least) * np.concatenate([[0], np.geomspace(1e-5, 0.05, 16), np.linspace(0.1, 1, 10)])
    levels = [
        np.exp(ways + xlogy(lost, share + drop) + xlogy(gained, share) + xlogy(same, 1 - 2 * share - drop)).sum()
        for share in np.minimum(shares, most * (1 - 1e-12))
    ]
    return float(max(levels))


@pytest.mark.parametrize("places", [1, 22, 66])
@pytest.mark.parametrize("drop", [-0.05, 0.0, 0.01, 0.05, 0.1])
def test_false_positive_rate_is_at_most_alpha(drop: float, places: int) -> None:
    for n in (1, 3, 10, 30, 100, 180, 300):
        assert worst_level(n, drop, 0.05 / places) <= 0.05 / places


def test_skewness_must_be_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "skewness", lambda share, n, drop: np.zeros_like(share))
    assert worst_level(180, 0.1, 0.05 / 66) > 1.2 * 0.05 / 66


@pytest.mark.parametrize(
    ("lost", "gained", "n"), [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 500), (500, 0, 500), (0, 500, 500), (40, 18, 1000)]
)
def test_bounds_agree_with_the_test(lost: int, gained: int, n: int) -> None:
    low, high = float(drop_lower_bounds(lost, gained, n)), float(drop_upper_bounds(lost, gained, n))
    assert -1 <= low <= (lost - gained) / n <= high <= 1
    assert (low, high) == (-float(drop_upper_bounds(gained, lost, n)), -float(drop_lower_bounds(gained, lost, n)))
    for drop in (-0.9, -0.01, 0.0, 0.01, 0.3, 0.9):
        assert (low > drop) == bool(drop_p_values(lost, gained, n, drop) < 0.05)


def test_bounds_without_a_change() -> None:
    assert 0 < float(drop_upper_bounds(0, 0, 10_000)) < 0.001 < float(drop_upper_bounds(0, 0, 100)) < 0.1
    assert float(drop_upper_bounds(0, 0, 1)) > 0.5
    assert float(drop_lower_bounds(500, 0, 500)) > 0.98


def test_holm_by_hand() -> None:
    """Of p = 0.01, 0.04, 0.03 and 0.005 at 5 %, two are rejected: 0.005 < 1/80 and 0.01 < 1/60, but 0.03 > 1/40."""
    rejected, adjusted, levels = holm([0.01, 0.04, 0.03, 0.005])
    assert rejected.tolist() == [True, False, False, True]
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert levels == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])


def test_detectable_drop_has_its_power() -> None:
    gained, n, allowed = 20, 1000, 0.01
    drop = detectable_drop(gained, n, allowed)
    assert drop is not None
    share = (gained + 0.5) / (n + 1)
    counts = np.random.default_rng(0).multinomial(n, [share + drop, share, 1 - 2 * share - drop], 4000)
    found = drop_p_values(counts[:, 0], counts[:, 1], n, allowed) < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.04)
    assert detectable_drop(0, 1, 0.01) is None
    assert detectable_drop(gained, n, 1.0) is None


def exact_power(lost: float, gained: float, n: int, reject: Callable[[np.ndarray, int], np.ndarray]) -> float:
    """Probability that a test of the lost images of k changed ones rejects, summed over all outcomes of n images."""
    found = 0.0
    for k in range(n + 1):
        weight = binom.pmf(k, n, lost + gained)
        if weight > 1e-9:
            b = np.arange(k + 1)
            found += weight * float(binom.pmf(b, k, lost / (lost + gained)) @ reject(b, k))
    return found


@pytest.mark.parametrize("gained", [0.0, 0.01, 0.05])
@pytest.mark.parametrize(("drop", "allowed"), [(0.05, 0.0), (0.05, 0.01), (0.1, 0.05)])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 22])
def test_images_needed_have_the_power(gained: float, drop: float, allowed: float, alpha: float) -> None:
    """By sums over all outcomes of the gate's test: never below 80 %, and above 90 % only if almost no image is gained."""
    n = drop_images_needed(gained + drop, gained, 1, allowed, alpha)
    assert n is not None
    power = exact_power(gained + drop, gained, n, lambda b, k: drop_p_values(b, k - b, n, allowed) < alpha)
    assert 0.795 < power < (0.85 if gained >= 0.05 else 0.91 if gained else 0.98)


def test_images_needed_suffice_for_exact_mcnemar() -> None:
    n = drop_images_needed(0.08, 0.03, 1)
    assert n is not None
    power = exact_power(0.08, 0.03, n, lambda b, k: binom.sf(b - 1, k, 0.5) < 0.05)
    assert power == pytest.approx(0.8, abs=0.03)
    counts = np.random.default_rng(0).multinomial(n, [0.08, 0.03, 0.89], 4000)
    simulated = (binom.sf(counts[:, 0] - 1, counts[:, 0] + counts[:, 1], 0.5) < 0.05).mean()
    assert simulated == pytest.approx(power, abs=0.02)
    assert drop_images_needed(0.03, 0.03, 1) is None
