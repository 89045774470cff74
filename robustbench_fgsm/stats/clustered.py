"""Interval of a share whose units come in clusters, such as the pixels of images, or the labels of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.stats.rate import Z_95, wilson_interval

CLUSTER_SUMS = 6
"""Numbers of `cluster_sums`."""


def clustered_interval(hits: ArrayLike, totals: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of sum(hits) / sum(totals), where units of one cluster are not independent.

    A Wilson interval at the effective number of units (Korn and Graubard 1998, Survey Methodology 24): the variance of the share
    between clusters says how many independent units there are, and Student's t with one degree of freedom less than clusters
    replaces the normal quantile. If all clusters have the same share, each cluster counts as one unit.

    Args:
        hits: units that count in each cluster, such as the right pixels of each image; a list, an array or a tensor on the CPU.
        totals: all units of each cluster.

    Raises:
        SettingError: there are fewer than two clusters, the lengths differ, or the hits of a cluster do not lie in [0, total].
    """
    right, size = np.asarray(hits, np.float64), np.asarray(totals, np.float64)
    if right.ndim != 1 or right.shape != size.shape or len(right) < 2 or not size.sum() > 0:
        raise SettingError(
            f"an interval needs two clusters at least, got hits {right.shape} and totals {size.shape}: "
            "pass one number for each image"
        )
    if not bool(((right >= 0) & (right <= size)).all()):
        raise SettingError("hits must lie between 0 and the total of their cluster: pass counts, not shares")
    n, share = len(right), right.sum() / size.sum()
    return _interval(n, float(share), float(np.square(right - share * size).sum() / size.sum() ** 2))


def _interval(n: int, share: float, squares: float) -> tuple[float, float]:
    """Return the interval of a share in n clusters; squares: sum of squared residuals, as a share of the square of all units."""
    from scipy.stats import t

    variance = n / (n - 1) * squares
    units = n if variance == 0 else share * (1 - share) / variance
    return wilson_interval(share, float(units * (Z_95 / t.ppf(0.975, n - 1)) ** 2))


def cluster_sums(hits: NDArray[Any], totals: NDArray[Any]) -> NDArray[np.int64]:
    """Return integers (6,) that add and give the interval: clusters that have units, and the sums of h, t, h^2, h t and t^2.

    hits, totals: (N,) integers, hits h among units t of each cluster.
    """
    h, t = hits.astype(np.int64), totals.astype(np.int64)
    return np.array([(t > 0).sum(), h.sum(), t.sum(), (h * h).sum(), (h * t).sum(), (t * t).sum()], np.int64)


@dataclass(frozen=True)
class ClusteredRate:
    """Share count / n of units in clusters, with the interval of `clustered_interval`; sums: the last three of `cluster_sums`."""

    count: int
    n: int
    clusters: int
    sums: tuple[int, int, int]

    @classmethod
    def of_sums(cls, numbers: Sequence[int] | NDArray[np.int64]) -> ClusteredRate:
        """Return the rate of the numbers that `cluster_sums` returns, added over all parts."""
        clusters, count, n, *sums = map(int, numbers)
        return cls(count, n, clusters, (sums[0], sums[1], sums[2]))

    def complement(self) -> ClusteredRate:
        """Return the share of the units that do not count."""
        hits, products, totals = self.sums
        return replace(self, count=self.n - self.count, sums=(totals - 2 * products + hits, totals - products, totals))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end, from exact integers; None if there are fewer than two clusters."""
        if self.clusters < 2:
            return None
        hits, products, totals = self.sums
        squares = self.n**2 * hits - 2 * self.n * self.count * products + self.count**2 * totals
        return _interval(self.clusters, self.count / self.n, squares / self.n**4)

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the rate as a JSON object, with the number of clusters; its value is null if there are no units."""
        low, high = self.interval or (None, None)
        value = self.count / self.n if self.n else None
        return {"value": value, "count": self.count, "n": self.n, "low": low, "high": high, "clusters": self.clusters}
