"""Two attacks on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import BoolArray


@dataclass(frozen=True)
class PairedCounts:
    """Of n images, how many both attacks fool, how many the first alone, and how many the second alone."""

    n: int
    both: int
    first_only: int
    second_only: int

    @classmethod
    def of(cls, first: BoolArray, second: BoolArray) -> PairedCounts:
        """first, second: (N,) bool, whether that attack fools the image."""
        counts = (np.count_nonzero(found) for found in (first & second, first & ~second, second & ~first))
        return cls(len(first), *map(int, counts))

    @property
    def first_rate(self) -> Rate:
        """Fooled by the first attack."""
        return Rate(self.both + self.first_only, self.n)

    @property
    def second_rate(self) -> Rate:
        """Fooled by the second attack."""
        return Rate(self.both + self.second_only, self.n)

    @property
    def rate_difference(self) -> float | None:
        """By how much the second attack's share is larger; None of no images."""
        return (self.second_only - self.first_only) / self.n if self.n else None

    @property
    def difference_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the lead for matched shares, by Agresti and Min 2005 (Statistics in Medicine 24:729)."""
        from scipy.stats import norm

        if not self.n:
            return None
        lead, error = self._adjusted_difference()
        half = float(norm.ppf(0.975)) * error
        return max(-1.0, lead - half), min(1.0, lead + half)

    def mcnemar_p_value(self) -> float:
        """The p of the one-sided exact McNemar test that the first attack is no stronger than the second."""
        from scipy.stats import binomtest

        discordant = self.first_only + self.second_only
        return float(binomtest(self.first_only, discordant, 0.5, "greater").pvalue) if discordant else 1.0

    def difference_at_least_p_value(self, least: float) -> float:
        """The p of the one-sided test that the second attack's lead is at least that; small where it is not."""
        from scipy.stats import norm

        lead, error = self._adjusted_difference()
        return float(norm.cdf((lead - least) / error))

    def to_dict(self) -> dict[str, Any]:
        """The lead as JSON knows it."""
        low, high = self.difference_interval or (None, None)
        return {"value": self.rate_difference, "low": low, "high": high}

    def _adjusted_difference(self) -> tuple[float, float]:
        """The lead and its standard error with half an image more in each of the four cells."""
        n, gained, lost = self.n + 2, self.second_only + 0.5, self.first_only + 0.5
        lead = (gained - lost) / n
        return lead, math.sqrt(gained + lost - n * lead * lead) / n


Float64Array = NDArray[np.float64]


BISECTION_STEPS = 60
"""Of an interval of width 2: more than float64 can tell apart."""


CONTINUITY_CORRECTION = 1.0
"""Images that a difference is brought nearer to what is assumed, as in Edwards's McNemar test (1948, Psychometrika 13, 185).

Without it three images that all are lost would be rejected at 5 %, which chance alone gives in one case of eight.
"""


MIN_SKEWNESS = 1e-9
"""Less skewness than that changes nothing that float64 can tell."""


def drop_score(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike, *, continuity_correction: bool = True
) -> Float64Array:
    """How many standard errors the drop that was seen lies above the one that is assumed; arrays broadcast.

    lost: images right at first and wrong then; gained: the reverse; n >= 1 images in all. The standard error is the one
    under the assumption, with the likeliest share of gains given it (Tango 1998, Statistics in Medicine 17, 891-908).
    Where it is 0, the result is 0 or infinite. corrected: one image nearer, and less where the upper tail is heavier than
    the normal one, as it is where next to no image is gained.
    """
    b, c, total, d = (np.asarray(value, np.float64) for value in (lost, gained, n, drop))
    share = _constrained_mle(b, c, total, d)
    variance = np.maximum(2 * share + d * (1 - d), 0)  # of one image
    away = np.asarray(b - c - total * d)
    distance = np.copysign(np.maximum(np.abs(away) - CONTINUITY_CORRECTION * continuity_correction, 0), away)
    bounded = np.where(np.abs(distance) < 1e-9, 0.0, np.copysign(np.inf, distance))
    found = np.asarray(np.divide(distance, np.sqrt(total * variance), out=bounded, where=variance > 0), np.float64)
    return np.minimum(found, _correct_skewness(found, _skewness(share, total, d) / 6)) if continuity_correction else found


def _constrained_mle(b: Float64Array, c: Float64Array, total: Float64Array, d: Float64Array) -> Float64Array:
    """The share of gains under which losses b and gains c are likeliest where the drop is d."""
    linear = (2 * total - b + c) * d - b - c
    root = np.sqrt(np.maximum(linear * linear + 8 * total * c * d * (1 - d), 0))
    # the larger root in the form that does not cancel
    small = np.divide(2 * c * d * (1 - d), linear + root, out=np.zeros_like(linear + root), where=linear + root > 0)
    return np.asarray(np.where(linear > 0, small, (root - linear) / (4 * total)), np.float64)


def _skewness(share: Float64Array, n: Float64Array, d: Float64Array) -> Float64Array:
    """Of losses less gains, where that is right-skewed; else 0. An image adds d - 3 d E(x^2) + 2 d^3 to its third moment."""
    square = 2 * share + d
    variance = np.maximum(square - d * d, 0)
    third = np.maximum(d - 3 * d * square + 2 * d**3, 0)
    return np.asarray(np.divide(third, variance**1.5 * np.sqrt(n), out=np.zeros_like(third), where=variance > 0))


def _correct_skewness(z: Float64Array, sixth: Float64Array) -> Float64Array:
    """The normal deviate whose Cornish-Fisher expansion, x + sixth (x^2 - 1), is z (Laud 2017, Pharm. Stat. 16, 334-348)."""
    skewed = (sixth > MIN_SKEWNESS) & np.isfinite(z)
    g, seen = np.where(skewed, sixth, 1.0), np.where(skewed, z, 0.0)
    return np.where(skewed, (np.sqrt(np.maximum(1 + 4 * g * (seen + g), 0)) - 1) / (2 * g), z)


def drop_p_values(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike) -> Float64Array:
    """The one-sided probability of such a drop or a larger one if the true one were no larger than that."""
    from scipy.stats import norm

    return np.asarray(norm.sf(drop_score(lost, gained, n, drop)), np.float64)


def drop_lower_bounds(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, alpha: ArrayLike = 0.05, *, continuity_correction: bool = True
) -> Float64Array:
    """The smallest drop that a one-sided test at level alpha does not reject: Tango's score bound; -1 at least."""
    from scipy.stats import norm

    b, c, total, z = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (lost, gained, n, norm.isf(alpha))))
    low, high = np.full(b.shape, -1.0), (b - c) / total  # the score falls as the assumed drop rises, and is 0 there
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        above = drop_score(b, c, total, middle, continuity_correction=continuity_correction) > z
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(high, np.float64)


def drop_upper_bounds(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, alpha: ArrayLike = 0.05, *, continuity_correction: bool = True
) -> Float64Array:
    """The largest such drop; 1 at most."""
    return -drop_lower_bounds(gained, lost, n, alpha, continuity_correction=continuity_correction)


def holm(p: ArrayLike, alpha: float = 0.05) -> tuple[NDArray[np.bool_], Float64Array, Float64Array]:
    """Which of m hypotheses are rejected, so that any true one is with probability alpha at most; adjusted p; levels.

    Holm 1979 (Scandinavian Journal of Statistics 6, 65-70). A level belongs to its hypothesis: a p below it is exactly one
    that is rejected, so that a bound at that level says the same as the test.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.arange(len(values), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(values[order] * steps), 1)
    rejected = np.logical_and.accumulate(values[order] < alpha / steps)
    count = int(rejected.sum())
    levels = alpha / np.where(rejected, steps, max(len(values) - count, 1))
    back = np.argsort(order, kind="stable")
    return rejected[back], adjusted[back], levels[back]


def detectable_drop(gained: int, n: int, drop: float, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest true drop that a test of `drop` at level alpha finds with that power; None where even 1 is too small.

    The share of gains is taken as it was seen, half an image more of one; normal approximation, good from about 100 images on.
    """
    share = (gained + 0.5) / (n + 1)
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(power)
    z_alpha += float(_skewness(*map(np.asarray, (share, float(n), drop)))) / 6 * max(z_alpha * z_alpha - 1, 0)

    def found(true: float) -> bool:
        changes = 2 * share + true  # of all images; the test takes as many for what it assumes, less their difference
        assumed, spread = math.sqrt(max(changes - drop * drop, 0)), math.sqrt(max(changes - true * true, 0))
        return ((true - drop) * n - CONTINUITY_CORRECTION) / math.sqrt(n) >= z_alpha * assumed + z_beta * spread

    low, high = drop, 1 - share
    if not found(high):
        return None
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
