"""Paired drops: against a published interval, by enumeration of every outcome, and where there is little to see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammaln, xlogy

from robustbench_fgsm.stats import paired
from robustbench_fgsm.stats.paired import detectable_drop, drop_lower_bounds, drop_p_values, drop_upper_bounds, holm


def test_the_interval_is_the_published_one() -> None:
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
def test_no_share_of_gains_rejects_a_true_drop_more_often_than_alpha(drop: float, places: int) -> None:
    for n in (1, 3, 10, 30, 100, 180, 300):
        assert worst_level(n, drop, 0.05 / places) <= 0.05 / places


def test_without_the_correction_for_skewness_it_would_where_next_to_none_is_gained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paired, "_skewness", lambda share, n, drop: np.zeros_like(share))
    assert worst_level(180, 0.1, 0.05 / 66) > 1.2 * 0.05 / 66


@pytest.mark.parametrize(
    ("lost", "gained", "n"),
    [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 500), (500, 0, 500), (0, 500, 500), (40, 18, 1000)],
)
def test_bounds_hold_the_drop_say_what_the_test_says_and_mirror(lost: int, gained: int, n: int) -> None:
    low, high = float(drop_lower_bounds(lost, gained, n)), float(drop_upper_bounds(lost, gained, n))
    assert -1 <= low <= (lost - gained) / n <= high <= 1
    assert (low, high) == (-float(drop_upper_bounds(gained, lost, n)), -float(drop_lower_bounds(gained, lost, n)))
    for drop in (-0.9, -0.01, 0.0, 0.01, 0.3, 0.9):
        assert (low > drop) == bool(drop_p_values(lost, gained, n, drop) < 0.05)


def test_no_change_rules_out_what_so_many_images_would_have_shown() -> None:
    assert 0 < float(drop_upper_bounds(0, 0, 10_000)) < 0.001 < float(drop_upper_bounds(0, 0, 100)) < 0.1
    assert float(drop_upper_bounds(0, 0, 1)) > 0.5
    assert float(drop_lower_bounds(500, 0, 500)) > 0.98


def test_holm_goes_down_step_by_step() -> None:
    """Of p = 0.01, 0.04, 0.03 and 0.005 at 5 %, two are rejected: 0.005 < 1/80 and 0.01 < 1/60, but 0.03 > 1/40."""
    rejected, adjusted, levels = holm([0.01, 0.04, 0.03, 0.005])
    assert rejected.tolist() == [True, False, False, True]
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert levels == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])


def test_a_detectable_drop_is_found_in_four_cases_of_five() -> None:
    gained, n, allowed = 20, 1000, 0.01
    drop = detectable_drop(gained, n, allowed)
    assert drop is not None
    share = (gained + 0.5) / (n + 1)
    counts = np.random.default_rng(0).multinomial(n, [share + drop, share, 1 - 2 * share - drop], 4000)
    found = drop_p_values(counts[:, 0], counts[:, 1], n, allowed) < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.04)
    assert detectable_drop(0, 1, 0.01) is None
    assert detectable_drop(gained, n, 1.0) is None
