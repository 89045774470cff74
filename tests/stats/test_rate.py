"""A share, its interval, and what there is where there is neither."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from robustbench_fgsm.stats.rate import Rate, lowest_rate_by_chance, rate_drop_images_needed, wilson_interval


@pytest.mark.parametrize(("count", "n"), [(0, 10), (10, 10), (3, 7), (9258, 10000)])
def test_wilson_by_its_formula(count: int, n: int) -> None:
    z, p = norm.ppf(0.975), count / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert Rate(count, n).interval == pytest.approx((max(centre - half, 0), min(centre + half, 1)), abs=1e-12)


def test_empty_rate_is_not_applicable() -> None:
    rate = Rate(0, 0)
    assert str(rate) == "n/a"
    assert rate.to_dict() == {"value": None, "count": 0, "n": 0, "low": None, "high": None}


@pytest.mark.parametrize(("count", "text"), [(-3, "-30.0%"), (11, "110.0%")])
def test_difference_has_no_interval(count: int, text: str) -> None:
    rate = Rate(count, 10)
    assert rate.to_dict() == {"value": count / 10, "count": count, "n": 10, "low": None, "high": None}
    assert str(rate) == text


def test_text() -> None:
    assert str(Rate(1, 2)) == "50.0% [9.5%, 90.5%]"


@pytest.mark.parametrize(("count", "n"), [(0, 1), (1, 1), (0, 10), (3, 10), (50, 100), (9_999, 10_000)])
def test_wilson_of_whole_counts(count: int, n: int) -> None:
    assert wilson_interval(count / n, n) == pytest.approx(Rate(count, n).interval, abs=1e-12)


def test_wilson_narrows_with_n() -> None:
    widths = [high - low for low, high in (wilson_interval(0.3, n) for n in (10, 10.5, 11))]
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize(
    ("sizes", "share"), [([100] * 10, 0.5), ([20, 30, 0, 100], 0.9), ([7, 1000], 0.2), ([5, 5], 0.0), ([5, 5], 1.0)]
)
def test_lowest_by_chance_is_that_of_simulated_classes(sizes: list[int], share: float) -> None:
    present = np.array([size for size in sizes if size])
    lowest = (np.random.default_rng(0).binomial(present, share, (20_000, len(present))) / present).min(1)
    found = lowest_rate_by_chance(sizes, share)
    assert found is not None
    for name, tail in (("value", 0.5), ("low", 0.025), ("high", 0.975)):
        assert (lowest <= found[name] + 1e-8).mean() >= tail - 0.005
        assert (lowest < found[name] - 1e-8).mean() <= tail + 0.005


def test_lowest_by_chance_needs_two_classes() -> None:
    assert lowest_rate_by_chance([100, 0], 0.5) is None
    assert lowest_rate_by_chance([0, 0], None) is None


@pytest.mark.parametrize(
    ("share", "drop", "allowed", "alpha"), [(0.6, 0.05, 0.0, 0.05), (0.9, 0.06, 0.01, 0.002), (0.3, 0.1, 0.05, 0.05)]
)
def test_two_rates_of_the_images_needed_have_the_power(share: float, drop: float, allowed: float, alpha: float) -> None:
    n = rate_drop_images_needed(share, drop, allowed, alpha)
    before, now = (np.random.default_rng(seed).binomial(n, p, 20_000) / n for seed, p in ((0, share), (1, share - drop)))
    spread = np.sqrt((before * (1 - before) + now * (1 - now)) / n)
    assert (before - now - allowed > norm.ppf(1 - alpha) * spread).mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("sizes", "share"), [([100] * 10, 0.5848), ([17, 1000, 1000], 0.031), ([20_000] * 3, 0.97)])
def test_lowest_by_chance_has_the_binomials_of_scipy(sizes: list[int], share: float) -> None:
    found = lowest_rate_by_chance(sizes, share)
    assert found is not None
    for name, tail in (("value", 0.5), ("low", 0.025), ("high", 0.975)):
        at, before = (
            1 - np.prod(binom.sf(np.floor(np.array(sizes) * (found[name] + step)), sizes, share)) for step in (1e-8, -1e-8)
        )
        assert before < tail <= at
