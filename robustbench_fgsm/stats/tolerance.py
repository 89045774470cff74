"""Compute a limit that nearly all values of a sample's population stay below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

COVERED_SHARE = 1 - 1e-6
CONFIDENCE = 0.95
LEAST_FACTOR = 4.0
"""A limit is at least so many times the largest value, in case the values are not log-normal."""


def upper_tolerance_limit(values: Sequence[float]) -> float:
    """Return a limit above 99.9999 % of a log-normal population, with 95 % confidence, and above four times the largest value.

    The one-sided tolerance factor of a normal distribution, by Natrella's approximation (1963, NBS Handbook 91, section 2-5).
    Infinite for fewer than three values.

    Args:
        values: positive values.
    """
    n = len(values)
    if n < 3:
        return math.inf
    covered, confident = NormalDist().inv_cdf(COVERED_SHARE), NormalDist().inv_cdf(CONFIDENCE)
    a, b = 1 - confident**2 / (2 * (n - 1)), covered**2 - confident**2 / n
    factor = (covered + math.sqrt(covered**2 - a * b)) / a
    logs = [math.log(value) for value in values]
    return max(math.exp(fmean(logs) + factor * stdev(logs)), LEAST_FACTOR * max(values))
