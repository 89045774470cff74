"""Interval of a share whose units come in clusters, such as the pixels of images, or the labels of an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.stats.rate import Z_95, wilson_interval


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
    from scipy.stats import t

    right, size = np.asarray(hits, np.float64), np.asarray(totals, np.float64)
    if right.ndim != 1 or right.shape != size.shape or len(right) < 2 or not size.sum() > 0:
        raise SettingError(
            f"an interval needs two clusters at least, got hits {right.shape} and totals {size.shape}: "
            "pass one number for each image"
        )
    if not bool(((right >= 0) & (right <= size)).all()):
        raise SettingError("hits must lie between 0 and the total of their cluster: pass counts, not shares")
    n, share = len(right), right.sum() / size.sum()
    variance = n / (n - 1) * np.square(right - share * size).sum() / size.sum() ** 2
    units = n if variance == 0 else share * (1 - share) / variance
    return wilson_interval(float(share), float(units * (Z_95 / t.ppf(0.975, n - 1)) ** 2))
