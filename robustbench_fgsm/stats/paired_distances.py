"""Test if distances became smaller from a baseline to a run, image by image, over all images and class by class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from robustbench_fgsm.stats.distance import CENSORED, UNKNOWN, PairedDistances, distance_levels
from robustbench_fgsm.stats.paired import Float64Array, holm
from robustbench_fgsm.stats.signed_rank import (
    SignedRanks,
    location_shift,
    shift_lower_bound,
    shift_upper_bound,
    signed_rank_p_value,
)
from robustbench_fgsm.stats.tally import BoolArray

DISTANCE_TEST_DESCRIPTION = (
    "one-sided signed-rank test (Wilcoxon 1945, Pratt 1959) of the paired decrease of the distance, exact under sign flips "
    "for up to 60; Holm's levels over all classes"
)


def is_compared(pairs: PairedDistances) -> BoolArray:
    """Return the images (N,) bool whose distances can differ: not wrong before both attacks, and not censored in both runs."""
    lowest, largest = np.minimum(pairs.run, pairs.baseline), np.maximum(pairs.run, pairs.baseline)
    return np.asarray((largest > 0) & (lowest < CENSORED) & (largest < UNKNOWN))


def distance_decreases(pairs: PairedDistances) -> Float64Array:
    """Return by how much the distance of each compared image fell from the baseline to the run.

    A censored distance counts as the largest budget, which keeps the sign of the difference. Distances one step of the search
    apart are ties, because rounding can move a distance so far. Both rules are symmetric in run and baseline, so that under the
    hypothesis of no change each difference has either sign with probability 1/2.
    """
    levels = distance_levels(pairs.max_epsilon)[: CENSORED + 1]
    levels[CENSORED] = pairs.max_epsilon
    rows = is_compared(pairs)
    run, baseline = pairs.run[rows], pairs.baseline[rows]
    return np.where(np.abs(run - baseline) > 1, levels[baseline] - levels[run], 0.0)


@dataclass(frozen=True)
class DecreaseTest:
    """The test of the decrease of the distance of one class, or of all classes.

    Args:
        targeted: rule of the attack.
        label: class; None for all classes.
        n: number of images; compared: of these, images whose distances can differ.
        closer: compared images whose distance fell; farther: rose.
        decrease: Hodges-Lehmann estimate of the decrease over the compared images, in units of epsilon.
        low: one-sided lower bound of the decrease at Holm's level; None if it has none.
        high: one-sided upper bound of the decrease at Holm's level; None if it has none.
        p: adjusted p-value of the hypothesis that the decrease is at most the allowed one.
        exceeds: the decrease is significantly larger than is allowed.
        within: the decrease is significantly smaller than is allowed.
        needed: images that show a decrease like this one with power 0.8; None if the distance did not fall by more than is allowed.
    """

    targeted: str
    label: int | None
    n: int
    compared: int
    closer: int
    farther: int
    decrease: float
    low: float | None
    high: float | None
    p: float
    exceeds: bool
    within: bool
    needed: int | None


def assess_decreases(
    paired: Sequence[tuple[str, PairedDistances]], max_decrease: float = 0.0, alpha: float = 0.05
) -> tuple[DecreaseTest, ...]:
    """Return the test of all images and of each class of each attack, at Holm's levels over all of them.

    Args:
        paired: targeting rule and distances of each attack.
        max_decrease: largest allowed decrease, in units of epsilon.
        alpha: probability that any test exceeds although no distance changes.
    """
    places = [place for rule, pairs in paired for place in _places(rule, pairs)]
    values = [distance_decreases(pairs) for _, _, pairs in places]
    exceeds, p, levels = holm([signed_rank_p_value(found, max_decrease) for found in values], alpha)
    within, _, upper_levels = holm([signed_rank_p_value(-found, -max_decrease) for found in values], alpha)
    return tuple(
        DecreaseTest(
            rule,
            label,
            len(pairs.run),
            len(found),
            int((found > 0).sum()),
            int((found < 0).sum()),
            location_shift(found),
            _finite(shift_lower_bound(found, levels[at])),
            _finite(shift_upper_bound(found, upper_levels[at])),
            float(p[at]),
            bool(exceeds[at]),
            bool(within[at]),
            decrease_images_needed(found, len(pairs.run), max_decrease, alpha),
        )
        for at, ((rule, label, pairs), found) in enumerate(zip(places, values, strict=True))
    )


@dataclass(frozen=True)
class MovedImages:
    """Images by the side of one budget on which their distances lie in both runs, with the median decrease of each group.

    below: distance at most the budget in both runs; above: larger in both; lost: larger in the baseline alone; gained: in the run
    alone. A median is None in an empty group.
    """

    targeted: str
    epsilon: float
    below: int
    above: int
    lost: int
    gained: int
    below_decrease: float | None
    above_decrease: float | None


def count_moved_images(rule: str, pairs: PairedDistances, epsilon: float) -> MovedImages:
    """Count the images of a pair of runs on both sides of one budget."""
    levels = distance_levels(pairs.max_epsilon)[: CENSORED + 1]
    levels[CENSORED] = np.nextafter(pairs.max_epsilon, np.inf)
    known = np.maximum(pairs.run, pairs.baseline) < UNKNOWN
    run, baseline = levels[pairs.run[known]], levels[pairs.baseline[known]]
    now, then = run > epsilon, baseline > epsilon

    def median_decrease(rows: BoolArray) -> float | None:
        return float(np.median(baseline[rows] - run[rows])) if rows.any() else None

    below, above = ~now & ~then, now & then
    lost, gained = int((then & ~now).sum()), int((now & ~then).sum())
    medians = median_decrease(below), median_decrease(above)
    return MovedImages(rule, epsilon, int(below.sum()), int(above.sum()), lost, gained, *medians)


def decrease_images_needed(
    decreases: Float64Array, n: int, max_decrease: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return the images that show decreases like these of n images with that power; None if they are not above the allowed one."""
    if not len(decreases):
        return None
    needed = SignedRanks.of(decreases - max_decrease).images_needed(alpha, power) * n / len(decreases)
    return math.ceil(needed) if math.isfinite(needed) else None


def _places(rule: str, pairs: PairedDistances) -> Iterator[tuple[str, int | None, PairedDistances]]:
    yield rule, None, pairs
    for label in np.unique(pairs.labels).tolist():
        yield rule, label, pairs.of_class(label)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
