"""Compute a rate and its 95 % Wilson interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""Standard normal quantile of 97.5 %, for a two-sided 95 % interval."""

BISECTION_STEPS = 40
"""Halvings of [0, 1], which leave an error of 1e-12."""


@dataclass(frozen=True)
class Rate:
    """Share count / n with its 95 % Wilson interval (Wilson 1927, JASA 22); None if n is 0.

    The interval treats the images as a sample. It does not cover other attacks or training seeds.
    """

    count: int
    n: int

    @property
    def value(self) -> float | None:
        """The share count / n; None if n is 0."""
        return self.count / self.n if self.n else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end; None if n is 0, or if the count is a difference that lies outside [0, n]."""
        return wilson_interval(self.count / self.n, self.n) if 0 <= self.count <= self.n and self.n else None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the rate as a JSON object."""
        low, high = self.interval or (None, None)
        return {"value": self.value, "count": self.count, "n": self.n, "low": low, "high": high}

    def __str__(self) -> str:
        if self.value is None:
            return "n/a"
        ends = f" [{self.interval[0]:.1%}, {self.interval[1]:.1%}]" if self.interval else ""
        return f"{self.value:.1%}{ends}"


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of n > 0 images; n and the count may be fractions."""
    center = (2 * n * share + Z_95**2) / (2 * (n + Z_95**2))
    half = Z_95 / (2 * (n + Z_95**2)) * math.sqrt(4 * n * share * (1 - share) + Z_95**2)
    return max(0.0, center - half) if share > 0 else 0.0, min(1.0, center + half) if share < 1 else 1.0


def rate_drop_images_needed(share: float, drop: float, max_drop: float = 0.0, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the images, in each of two samples, whose two independent rates show a drop above the allowed one with that power.

    Normal approximation with the variance of each rate (Fleiss, Levin and Paik 2003, Statistical Methods for Rates and
    Proportions, chapter 4, without correction for continuity).

    Args:
        share: rate before.
        drop: true drop, larger than max_drop and at most share.
        max_drop: largest drop of the hypothesis.
        alpha: level of the one-sided test.
        power: probability that the test finds the drop.
    """
    z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(power)
    variance = share * (1 - share) + (share - drop) * (1 - share + drop)
    return max(1, math.ceil(z * z * variance / (drop - max_drop) ** 2))


def lowest_rate_by_chance(sizes: Sequence[int], share: float | None) -> dict[str, float] | None:
    """Return median and 95 % range of the lowest of K rates that differ by chance alone, as a JSON object; None if K < 2.

    Exact distribution of the smallest of K independent binomial shares with equal probability.

    Args:
        sizes: number of images of each class; K of them are not 0.
        share: probability that an image is right, the same in each class; None if there are no images.
    """
    import numpy as np

    present = [size for size in sizes if size]
    if share is None or len(present) < 2:
        return None
    if share in (0.0, 1.0):
        return dict.fromkeys(("value", "low", "high"), share)
    tables = [(n, classes, 1 - _binomial_cdf(n, share)) for n, classes in zip(*np.unique(present, return_counts=True), strict=True)]

    def quantile(probability: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(BISECTION_STEPS):
            middle = (low + high) / 2
            all_above = math.prod(float(above[int(middle * n)]) ** int(classes) for n, classes, above in tables)
            low, high = (low, middle) if 1 - all_above >= probability else (middle, high)
        return round(high, 9)  # a fraction k / n again

    return {name: quantile(tail) for name, tail in (("value", 0.5), ("low", 0.025), ("high", 0.975))}


def _binomial_cdf(n: int, share: float) -> NDArray[np.float64]:
    """Return the probability (n + 1,) of at most 0 to n successes, for a share in (0, 1); scipy would be slow to import."""
    import numpy as np

    counts = np.arange(n + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    ways = log_factorials[-1] - log_factorials - log_factorials[::-1]
    found: NDArray[np.float64] = np.cumsum(np.exp(ways + counts * math.log(share) + (n - counts) * math.log1p(-share)))
    return np.asarray(np.minimum(found, 1.0), np.float64)
