"""Signed-rank test of paired differences, with ties: p-value, shift of location and its bounds, and the images that it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from robustbench_fgsm.stats.paired import Float64Array

EXACT_SIZE = 60
"""Most differences for which the distribution of the statistic under sign flips is computed exactly."""

LEAST_CORRECTION = 1.5
"""Least correction for continuity: 1 is half a step of a total without ties, and the rest covers tails heavier than normal ones."""

BISECTION_STEPS = 40


@dataclass(frozen=True)
class SignedRanks:
    """Wilcoxon's signed ranks of N differences (1945, Biometrics Bulletin 1:80), by Pratt's rule (1959, JASA 54:655).

    Equal magnitudes share the mean of their ranks. Differences of zero are ranked, and then left out.

    Args:
        total: sum of the ranks of positive differences minus sum of the ranks of negative differences.
        ranks: (M,) ranks of the M differences that are not zero.
        n: number N of differences.
    """

    total: float
    ranks: Float64Array
    n: int

    @classmethod
    def of(cls, differences: ArrayLike) -> SignedRanks:
        """Rank the magnitudes of the differences (N,)."""
        from scipy.stats import rankdata

        values = np.asarray(differences, np.float64)
        ranks = rankdata(np.abs(values))
        return cls(float(ranks @ np.sign(values)), np.asarray(ranks[values != 0], np.float64), len(values))

    def p_value(self) -> float:
        """Return the probability of a total at least so large if each difference has either sign with probability 1/2.

        Exact up to 60 differences that are not zero; above, by the normal distribution with a correction for continuity. Of M
        ranks with m ties at rank r, the total moves in steps of about 2 r m / M: the largest of these counts.
        """
        if not len(self.ranks):
            return 1.0
        if len(self.ranks) <= EXACT_SIZE:
            return self._exact_p_value()
        deviation = math.sqrt(float(self.ranks @ self.ranks))
        values, ties = np.unique(self.ranks, return_counts=True)
        correction = max(LEAST_CORRECTION, float((values * ties).max()) / len(self.ranks))
        return math.erfc((self.total - correction) / deviation / math.sqrt(2)) / 2  # also far out, where 1 - cdf is 0

    def _exact_p_value(self) -> float:
        """Sum the distribution of the positive ranks, doubled so that all are integers (Hollander and Wolfe 1999, section 3.1)."""
        doubled = np.rint(2 * self.ranks).astype(np.int64)
        whole = int(doubled.sum())
        chances = np.zeros(whole + 1)
        chances[0] = 1.0
        for rank in doubled:
            shifted = np.zeros_like(chances)
            shifted[rank:] = chances[: whole + 1 - rank]
            chances = (chances + shifted) / 2
        least = (round(2 * self.total) + whole) // 2  # doubled sum of the positive ranks
        return float(min(1.0, chances[least:].sum()))

    def images_needed(self, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the differences that a one-sided test needs for that power if these differences are typical; infinity if none do.

        Source:
            Noether 1987, JASA 82:645, with the variance of the ranks that ties leave.
        """
        if self.total <= 0:
            return math.inf
        z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(power)
        effect, spread = self.total / self.n**2, float(self.ranks @ self.ranks) / self.n**3
        return z * z * spread / effect**2


def signed_rank_p_value(differences: ArrayLike, shift: float = 0.0) -> float:
    """Return the one-sided p-value of the hypothesis that the differences (N,) are symmetric about at most `shift`."""
    return SignedRanks.of(np.asarray(differences, np.float64) - shift).p_value()


def location_shift(differences: ArrayLike) -> float:
    """Return the Hodges-Lehmann estimate (1963): the shift about which the signed ranks of the differences (N,) balance."""
    values = np.asarray(differences, np.float64)

    def is_below(shift: float) -> bool:
        return SignedRanks.of(values - shift).total > 0

    def is_above(shift: float) -> bool:
        return SignedRanks.of(values - shift).total < 0

    if not len(values):
        return 0.0
    low = _bisect(is_below, values)  # the median of all means of two differences lies between these ends
    high = -_bisect(lambda shift: is_above(-shift), -values)
    return (low + high) / 2


def shift_lower_bound(differences: ArrayLike, alpha: float) -> float:
    """Return the largest shift that a one-sided test at level alpha rejects, or minus infinity if it rejects none."""
    values = np.asarray(differences, np.float64)
    if not len(values) or signed_rank_p_value(values, float(values.min()) - 1) >= alpha:
        return -math.inf
    return _bisect(lambda shift: signed_rank_p_value(values, shift) < alpha, values)


def shift_upper_bound(differences: ArrayLike, alpha: float) -> float:
    """Return the smallest shift that a one-sided test at level alpha rejects from above, or infinity if it rejects none."""
    return -shift_lower_bound(-np.asarray(differences, np.float64), alpha)


def _bisect(holds: Callable[[float], bool], values: Float64Array) -> float:
    """Return the largest shift, within rounding, at which a condition holds that fails from some shift on."""
    low, high = float(values.min()) - 1, float(values.max()) + 1
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
