"""Test the interval of a share of units in clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import t

import robustbench_fgsm as rf
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.stats.clustered import ClusteredRate, cluster_sums, clustered_interval
from robustbench_fgsm.stats.rate import Z_95, wilson_interval


def test_clusters_of_one_unit_are_a_wilson_interval() -> None:
    hits = [1] * 60 + [0] * 40
    low, high = clustered_interval(hits, [1] * 100)
    expected = wilson_interval(0.6, 99 * (Z_95 / t.ppf(0.975, 99)) ** 2)
    assert (low, high) == pytest.approx(expected)


def test_whole_clusters_count_once() -> None:
    hits, totals = [900] * 60 + [0] * 40, [900] * 100
    assert clustered_interval(hits, totals) == pytest.approx(clustered_interval([1] * 60 + [0] * 40, [1] * 100))


def test_independent_units_are_worth_nearly_all() -> None:
    hits = np.random.default_rng(0).binomial(100, 0.7, 200)
    low, high = clustered_interval(hits.tolist(), [100] * 200)
    share = hits.sum() / 20_000
    assert high - low == pytest.approx(np.diff(wilson_interval(share, 20_000))[0], rel=0.15)


def test_covers_the_truth() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        sizes = generator.integers(50, 150, 30)
        low, high = clustered_interval(generator.binomial(sizes, generator.beta(3, 2, 30)).tolist(), sizes.tolist())
        covered += low <= 0.6 <= high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize("share", [0, 1])
def test_all_or_none(share: int) -> None:
    low, high = rf.clustered_interval(torch.full((20,), 100 * share), [100] * 20)
    assert (low, high)[share] == share
    assert 0.1 < high - low < 0.3


@pytest.mark.parametrize(
    ("hits", "totals", "problem"),
    [
        ([3], [4], "two clusters at least"),
        ([3, 4], [4], "two clusters"),
        ([0, 0], [0, 0], "two clusters"),
        ([5, 3], [4, 4], "between 0 and the total"),
        ([-1, 3], [4, 4], "between 0 and the total"),
        ([[1, 2]], [[3, 3]], "two clusters"),
    ],
)
def test_bad_counts(hits: list[int], totals: list[int], problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        clustered_interval(hits, totals)


@pytest.mark.parametrize("seed", range(5))
def test_sums_give_the_interval_of_all_clusters(seed: int) -> None:
    generator = np.random.default_rng(seed)
    totals = generator.integers(0, 9, 50)
    hits = generator.binomial(totals, 0.7)
    parts = cluster_sums(hits[:20], totals[:20]) + cluster_sums(hits[20:], totals[20:])
    found, present = ClusteredRate.of_sums(parts), totals > 0
    assert (found.count, found.n, found.clusters) == (hits.sum(), totals.sum(), present.sum())
    assert found.interval == pytest.approx(clustered_interval(hits[present], totals[present]))
    assert found.complement().interval == pytest.approx(clustered_interval((totals - hits)[present], totals[present]))


@pytest.mark.parametrize("share", [0, 1, 0.5])
def test_sums_of_equal_shares_count_each_cluster_once(share: float) -> None:
    totals = np.arange(2, 22, 2)
    hits = (share * totals).astype(np.int64)
    found = ClusteredRate.of_sums(cluster_sums(hits, totals))
    assert found.interval == pytest.approx(wilson_interval(share, 10 * (Z_95 / t.ppf(0.975, 9)) ** 2))


def test_sums_of_fewer_than_two_clusters_have_no_interval() -> None:
    one = ClusteredRate.of_sums(cluster_sums(np.array([2, 0]), np.array([3, 0])))
    assert one.to_dict() == {"value": 2 / 3, "count": 2, "n": 3, "low": None, "high": None, "clusters": 1}
    assert ClusteredRate.of_sums([0] * 6).to_dict()["value"] is None
