"""Compare two attacks, or two models, on the same images: intervals and tests of paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import BoolArray

Float64Array = NDArray[np.float64]

BISECTION_STEPS = 60
"""Halvings of an interval of width 2, more than float64 resolves."""

CONTINUITY_CORRECTION = 1.0
"""Images by which a difference moves towards the null hypothesis, as in Edwards's McNemar test (1948, Psychometrika 13, 185).

Without it, three lost images of three would be significant at 5 %, although their probability is one in eight.
"""

MIN_SKEWNESS = 1e-9
"""Smallest skewness that is corrected: less changes nothing in float64."""


@dataclass(frozen=True)
class PairedCounts:
    """Numbers of images, of n, that both attacks fool, that only the first fools, and that only the second fools."""

    n: int
    both: int
    first_only: int
    second_only: int

    @classmethod
    def of(cls, first: BoolArray, second: BoolArray) -> PairedCounts:
        """Count the images (N,) bool that each attack fools."""
        counts = (np.count_nonzero(found) for found in (first & second, first & ~second, second & ~first))
        return cls(len(first), *map(int, counts))

    @property
    def first_rate(self) -> Rate:
        """Share of the images that the first attack fools."""
        return Rate(self.both + self.first_only, self.n)

    @property
    def second_rate(self) -> Rate:
        """Share of the images that the second attack fools."""
        return Rate(self.both + self.second_only, self.n)

    @property
    def rate_difference(self) -> float | None:
        """Rate of the second attack minus rate of the first; None without images."""
        return (self.second_only - self.first_only) / self.n if self.n else None

    @property
    def difference_interval(self) -> tuple[float, float] | None:
        """95 % interval of the rate difference for matched pairs (Agresti and Min 2005, Statistics in Medicine 24:729)."""
        from scipy.special import ndtri

        if not self.n:
            return None
        difference, error = self._adjusted_difference()
        half = float(ndtri(0.975)) * error
        return max(-1.0, difference - half), min(1.0, difference + half)

    def mcnemar_p_value(self) -> float:
        """Return the p-value of the one-sided exact McNemar test; small if the first attack fools more images."""
        from scipy.stats import binomtest

        discordant = self.first_only + self.second_only
        return float(binomtest(self.first_only, discordant, 0.5, "greater").pvalue) if discordant else 1.0

    def difference_at_least_p_value(self, least: float) -> float:
        """Return the p-value of the one-sided test; small if the rate difference is less than `least`."""
        from scipy.special import ndtr

        difference, error = self._adjusted_difference()
        return float(ndtr((difference - least) / error))

    def to_dict(self) -> dict[str, Any]:
        """Return the rate difference as a JSON object."""
        low, high = self.difference_interval or (None, None)
        return {"value": self.rate_difference, "low": low, "high": high}

    def _adjusted_difference(self) -> tuple[float, float]:
        """Return the rate difference and its standard error, with half an image added to each of the four cells."""
        n, gained, lost = self.n + 2, self.second_only + 0.5, self.first_only + 0.5
        difference = (gained - lost) / n
        return difference, math.sqrt(gained + lost - n * difference * difference) / n


def drop_score(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike, *, continuity_correction: bool = True
) -> Float64Array:
    """Return Tango's score: how many standard errors the observed drop lies above the assumed drop (1998, Stat. Med. 17:891).

    Arrays broadcast. The standard error is the one under the assumed drop, with the maximum-likelihood share of gains. If the
    standard error is 0, the score is 0 or infinite.

    Args:
        lost: images right at first and wrong later.
        gained: images wrong at first and right later.
        n: images in all, at least 1.
        drop: assumed drop.
        continuity_correction: move the difference one image towards the assumed drop, and correct for a heavy upper tail, which
            occurs if almost no image is gained.
    """
    b, c, total, d = (np.asarray(value, np.float64) for value in (lost, gained, n, drop))
    share = _constrained_mle(b, c, total, d)
    variance = np.maximum(2 * share + d * (1 - d), 0)  # of one image
    excess = np.asarray(b - c - total * d)
    distance = np.copysign(np.maximum(np.abs(excess) - CONTINUITY_CORRECTION * continuity_correction, 0), excess)
    limits = np.where(np.abs(distance) < 1e-9, 0.0, np.copysign(np.inf, distance))
    found = np.asarray(np.divide(distance, np.sqrt(total * variance), out=limits, where=variance > 0), np.float64)
    return np.minimum(found, _correct_skewness(found, skewness(share, total, d) / 6)) if continuity_correction else found


def _constrained_mle(b: Float64Array, c: Float64Array, total: Float64Array, d: Float64Array) -> Float64Array:
    """Return the maximum-likelihood share of gains for losses b and gains c if the drop is d."""
    linear = (2 * total - b + c) * d - b - c
    root = np.sqrt(np.maximum(linear * linear + 8 * total * c * d * (1 - d), 0))
    # the larger root, in the form without cancellation
    small = np.divide(2 * c * d * (1 - d), linear + root, out=np.zeros_like(linear + root), where=linear + root > 0)
    return np.asarray(np.where(linear > 0, small, (root - linear) / (4 * total)), np.float64)


def skewness(share: Float64Array, n: Float64Array, d: Float64Array) -> Float64Array:
    """Return the skewness of losses minus gains, at least 0. An image adds d - 3 d E(x^2) + 2 d^3 to the third moment."""
    square = 2 * share + d
    variance = np.maximum(square - d * d, 0)
    third = np.maximum(d - 3 * d * square + 2 * d**3, 0)
    return np.asarray(np.divide(third, variance**1.5 * np.sqrt(n), out=np.zeros_like(third), where=variance > 0))


def _correct_skewness(z: Float64Array, sixth: Float64Array) -> Float64Array:
    """Return the normal deviate x whose Cornish-Fisher expansion x + sixth (x^2 - 1) is z (Laud 2017, Pharm. Stat. 16:334)."""
    skewed = (sixth > MIN_SKEWNESS) & np.isfinite(z)
    g, score = np.where(skewed, sixth, 1.0), np.where(skewed, z, 0.0)
    return np.where(skewed, (np.sqrt(np.maximum(1 + 4 * g * (score + g), 0)) - 1) / (2 * g), z)


def drop_p_values(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike) -> Float64Array:
    """Return one-sided p-values of the observed drop if the true drop were at most `drop`."""
    from scipy.special import ndtr

    return np.asarray(ndtr(-drop_score(lost, gained, n, drop)), np.float64)


def drop_lower_bounds(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, alpha: ArrayLike = 0.05, *, continuity_correction: bool = True
) -> Float64Array:
    """Return the smallest drop, at least -1, that a one-sided test at level alpha does not reject: Tango's score bound."""
    from scipy.special import ndtri

    b, c, total, z = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (lost, gained, n, -ndtri(alpha))))
    low, high = np.full(b.shape, -1.0), (b - c) / total  # the score decreases with the assumed drop, and is 0 at `high`
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        above = drop_score(b, c, total, middle, continuity_correction=continuity_correction) > z
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(high, np.float64)


def drop_upper_bounds(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, alpha: ArrayLike = 0.05, *, continuity_correction: bool = True
) -> Float64Array:
    """Return the largest drop, at most 1, that a one-sided test at level alpha does not reject."""
    return -drop_lower_bounds(gained, lost, n, alpha, continuity_correction=continuity_correction)


def holm(p: ArrayLike, alpha: float = 0.05) -> tuple[NDArray[np.bool_], Float64Array, Float64Array]:
    """Return Holm's rejected hypotheses (bool), adjusted p-values and levels (1979, Scandinavian Journal of Statistics 6:65).

    The family-wise false-positive rate is at most alpha. A hypothesis is rejected exactly if its p-value is below its level, so
    a confidence bound at that level agrees with the test.
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


def drop_images_needed(
    lost: float, gained: float, n: int, drop: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return the images that show a drop like this one of n images with that power; None if it is not above the assumed drop.

    Normal approximation with the shares of lost and gained images as they are; see `detectable_drop`.
    """
    true, changes = (lost - gained) / n, (lost + gained) / n
    if true <= drop:
        return None
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(power)
    spread = z_alpha * math.sqrt(max(changes - drop * drop, 0)) + z_beta * math.sqrt(max(changes - true * true, 0))
    root = (spread + math.sqrt(spread * spread + 4 * (true - drop) * CONTINUITY_CORRECTION)) / (2 * (true - drop))
    return math.ceil(root * root)


def detectable_drop(gained: int, n: int, drop: float, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Return the smallest true drop that a test of `drop` at level alpha detects with that power; None if even 1 is too small.

    Normal approximation, good from about 100 images on. The share of gains is the observed share, with half an image added.
    """
    share = (gained + 0.5) / (n + 1)
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(power)
    z_alpha += float(skewness(*map(np.asarray, (share, float(n), drop)))) / 6 * max(z_alpha * z_alpha - 1, 0)

    def is_detected(true: float) -> bool:
        changes = 2 * share + true  # share of all images whose prediction changes, also under the assumed drop
        assumed, spread = math.sqrt(max(changes - drop * drop, 0)), math.sqrt(max(changes - true * true, 0))
        return ((true - drop) * n - CONTINUITY_CORRECTION) / math.sqrt(n) >= z_alpha * assumed + z_beta * spread

    low, high = drop, 1 - share
    if not is_detected(high):
        return None
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_detected(middle) else (middle, high)
    return high
