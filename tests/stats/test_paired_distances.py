"""Test the decrease of paired distances: ties, censoring, classes, and level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustbench_fgsm.stats.distance import CENSORED, STEPS, UNKNOWN, PairedDistances
from robustbench_fgsm.stats.paired import holm
from robustbench_fgsm.stats.paired_distances import (
    assess_decreases,
    count_moved_images,
    decrease_images_needed,
    distance_decreases,
    is_compared,
)
from robustbench_fgsm.stats.signed_rank import signed_rank_p_value


def pairs(run: list[int] | np.ndarray, baseline: list[int] | np.ndarray, labels: list[int] | None = None) -> PairedDistances:
    own = np.zeros(len(run), np.int64) if labels is None else np.array(labels)
    return PairedDistances(own, np.asarray(run), np.asarray(baseline), 0.5)


def test_images_that_cannot_differ_are_left_out() -> None:
    found = pairs([0, CENSORED, 0, CENSORED, 5, UNKNOWN], [0, CENSORED, 9, 9, 9, 9])
    assert is_compared(found).tolist() == [False, False, True, True, True, False]


def test_a_censored_distance_keeps_the_sign() -> None:
    assert (distance_decreases(pairs([CENSORED, STEPS], [STEPS, CENSORED])) == [1 / 255 - 0.5, 0.5 - 1 / 255]).all()


def test_one_step_of_the_search_is_a_tie() -> None:
    assert distance_decreases(pairs([10, 11, 12], [10, 10, 10])).tolist()[:2] == [0, 0]
    assert distance_decreases(pairs([12], [10]))[0] < 0


def test_swapping_run_and_baseline_changes_the_sign() -> None:
    random = np.random.default_rng(0)
    run, baseline = random.integers(0, CENSORED + 1, (2, 200))
    np.testing.assert_array_equal(distance_decreases(pairs(run, baseline)), -distance_decreases(pairs(baseline, run)))


def shifted(n: int, steps: int, seed: int = 0) -> PairedDistances:
    """A run whose distances are smaller by so many steps on average."""
    random = np.random.default_rng(seed)
    baseline = random.integers(200, 300, n)
    return pairs(baseline - steps + random.integers(-20, 21, n), baseline, random.integers(0, 4, n).tolist())


def test_a_decrease_exceeds_and_its_bounds_agree() -> None:
    tests = assess_decreases([("none", shifted(400, 8))])
    assert [test.label for test in tests] == [None, 0, 1, 2, 3]
    for test in tests:
        assert test.exceeds == (test.low is not None and test.low > 0)
    assert tests[0].exceeds
    assert tests[0].low is not None
    assert tests[0].high is not None
    assert tests[0].low < tests[0].decrease < tests[0].high
    (whole, *_) = assess_decreases([("none", shifted(400, 8))], max_decrease=1.0)
    assert whole.within
    assert not whole.exceeds


def test_equal_runs_show_nothing() -> None:
    baseline = np.random.default_rng(0).integers(0, CENSORED + 1, 100)
    for test in assess_decreases([("none", pairs(baseline, baseline))]):
        assert (test.p, test.exceeds, test.closer, test.decrease, test.needed) == (1, False, 0, 0, None)


@pytest.mark.parametrize("n", [8, 40, 200])
def test_family_keeps_its_level_under_exchanged_runs(n: int) -> None:
    """A gate fails at most at its level if run and baseline are exchanged by chance, with ties, wrong and censored images."""
    trials, alpha, failures = 600, 0.05, 0
    random = np.random.default_rng(n)
    for _ in range(trials):
        first, second = np.clip(random.integers(-60, CENSORED + 80, (2, n)), 0, CENSORED)
        swap, labels = random.random(n) < 0.5, random.integers(0, 3, n)
        found = pairs(np.where(swap, first, second), np.where(swap, second, first), labels.tolist())
        family = [found, *(found.of_class(label) for label in range(3))]
        failures += int(holm([signed_rank_p_value(distance_decreases(part)) for part in family], alpha)[0].any())
    assert failures / trials <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)


def test_moved_images_are_counted_by_side() -> None:
    found = count_moved_images("none", pairs([10, 10, 400, 10, 400], [20, 10, 400, 400, 10]), 8 / 255)
    assert (found.below, found.above, found.lost, found.gained) == (2, 1, 1, 1)
    assert found.above_decrease == 0
    assert found.below_decrease is not None
    assert found.below_decrease > 0


def test_more_images_are_needed_for_a_smaller_decrease() -> None:
    needed = [decrease_images_needed(distance_decreases(shifted(5000, steps)), 5000) for steps in (2, 8)]
    assert needed[0] is not None
    assert needed[1] is not None
    assert needed[0] > needed[1]
    assert decrease_images_needed(np.empty(0), 10) is None
