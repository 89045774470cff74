"""Test the scale of distances, their counts and their quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from robustbench_fgsm.stats.distance import (
    CENSORED,
    COARSE_GRID,
    STEPS,
    UNKNOWN,
    DistanceCounts,
    ImageDistances,
    PairedDistances,
    distance_levels,
    image_distances,
    quantiles,
)
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array


def outcomes(positions: list[int], labels: list[int] | None = None, ids: list[int] | None = None) -> BatchOutcomes:
    n = len(positions)
    zero, none = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    own = zero if labels is None else np.array(labels)
    order = np.arange(n) if ids is None else np.array(ids)
    return BatchOutcomes(order, own, zero, zero[:, np.newaxis], None, none, none, none, distances=np.array(positions))


def images(ids: list[int], positions: list[int], max_epsilon: float = 0.5) -> ImageDistances:
    return ImageDistances(np.array(ids), np.zeros(len(ids), np.int64), np.array(positions), max_epsilon)


def test_scale_begins_at_0_and_passes_through_the_coarse_grid() -> None:
    levels = distance_levels(0.5)
    assert len(levels) == UNKNOWN + 1
    assert levels[0] == 0
    assert levels[STEPS::STEPS][: len(COARSE_GRID)].tolist() == [k / 255 for k in (1, 2, 4, 8, 16, 32, 64, 127.5)]
    assert (np.diff(levels[:CENSORED]) > 0).all()
    assert levels[CENSORED] == math.inf
    assert math.isnan(levels[UNKNOWN])


def test_values_are_float32() -> None:
    found = images([1, 2, 3], [0, STEPS, CENSORED]).values
    assert found.dtype == np.float32
    assert found.tolist() == [0, np.float32(1 / 255), math.inf]


def test_counts_add() -> None:
    first, second = outcomes([0, 5, CENSORED], [0, 1, 1]), outcomes([7, 5], [1, 0])
    whole = BatchOutcomes.concatenate([first, second])
    total = DistanceCounts.of(first, 2, 0.5) + DistanceCounts.of(second, 2, 0.5)
    np.testing.assert_array_equal(total.counts, DistanceCounts.of(whole, 2, 0.5).counts)
    np.testing.assert_array_equal((total + DistanceCounts.empty(2, 0.5)).counts, total.counts)


def test_document_of_known_images() -> None:
    found = DistanceCounts.of(outcomes([0, STEPS, STEPS, CENSORED], [0, 0, 1, 1]), 2, 0.5).to_dict(("a", "b"))
    assert (found["n"], found["wrong_before"], found["censored"], found["unknown"]) == (4, 1, 1, 0)
    assert found["curve"] == {"epsilon": [0, 1 / 255, 0.5], "count": [3, 1, 1]}
    assert [one["median"]["value"] for one in found["per_class"]] == [0, 1 / 255]


def test_curve_is_the_share_of_images_beyond_each_budget() -> None:
    random = np.random.default_rng(0)
    positions = random.integers(0, CENSORED + 1, 300)
    levels = distance_levels(0.5)
    curve = DistanceCounts.of(outcomes(positions.tolist()), 1, 0.5).to_dict(("a",))["curve"]
    assert curve["count"] == [(levels[positions] > epsilon).sum() for epsilon in curve["epsilon"]]


def test_unknown_distances_are_counted() -> None:
    assert DistanceCounts.of(outcomes([UNKNOWN, 3]), 1, 0.5).unknown == 1


def counts_of(positions: Int64Array) -> Int64Array:
    return np.bincount(positions, minlength=UNKNOWN + 1)


def test_median_and_its_censored_end() -> None:
    (median,) = quantiles(counts_of(np.array([10] * 60 + [CENSORED] * 40)), distance_levels(0.5), (0.5,))
    assert median["value"] == median["low"] == distance_levels(0.5)[10]
    (median,) = quantiles(counts_of(np.array([10] * 45 + [CENSORED] * 55)), distance_levels(0.5), (0.5,))
    assert median["value"] is None
    assert median["high"] is None


def test_no_image_has_no_quantile() -> None:
    (median,) = quantiles(counts_of(np.empty(0, np.int64)), distance_levels(0.5), (0.5,))
    assert (median["value"], median["low"], median["high"]) == (None, None, None)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("n", [20, 101])
def test_intervals_cover_by_the_binomial_distribution(share: float, n: int) -> None:
    """For distinct distances, the ends are order statistics, whose coverage is a sum of binomial probabilities."""
    positions = np.arange(1, n + 1)
    (found,) = quantiles(counts_of(positions), np.arange(UNKNOWN + 1, dtype=np.float64), (share,))
    low, high = found["low"], n + 1 if found["high"] is None else found["high"]
    assert binom.cdf(high - 1, n, share) - binom.cdf(low - 1, n, share) >= 0.95


def test_image_distances_are_sorted_by_id() -> None:
    found = image_distances([outcomes([1, 2], ids=[5, 3]), outcomes([4], ids=[4])], 0.5)
    assert found.ids.tolist() == [3, 4, 5]
    assert found.positions.tolist() == [2, 4, 1]
    assert len(image_distances([], 0.5)) == 0


def test_pairs_of_a_class() -> None:
    found = PairedDistances(np.array([0, 1]), np.array([3, 4]), np.array([5, 6]), 0.5).of_class(1)
    assert (found.run.tolist(), found.baseline.tolist()) == ([4], [6])


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        ({1: 5, 40: 95}, []),
        ({1: 6, 40: 94}, ["lower --max-epsilon"]),
        ({0: 10, CENSORED: 90}, ["raise --max-epsilon"]),
        ({0: 10, 40: 1, CENSORED: 89}, []),
        ({0: 10}, []),
        ({}, []),
    ],
)
def test_a_largest_budget_that_does_not_fit_is_said(positions: dict[int, int], said: list[str]) -> None:
    counts = np.zeros((2, UNKNOWN + 1), np.int64)
    for place, count in positions.items():
        counts[place % 2, place] = count
    found = DistanceCounts(1e6, counts).warnings
    assert [words in warning for words, warning in zip(said, found, strict=True)] == [True] * len(said)
