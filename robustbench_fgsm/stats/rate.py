"""A share with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist


@dataclass(frozen=True)
class Rate:
    """count of n, and what follows: the value and its 95 % Wilson interval (Wilson 1927, JASA 22); all None where n is 0.

    The interval takes the images as a sample of their kind. It says nothing of other attacks or training seeds.
    """

    count: int
    n: int

    @property
    def value(self) -> float | None:
        """Count / n."""
        return self.count / self.n if self.n else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end, or None where there is none: n is 0, or the count is a difference that lies outside [0, n]."""
        if not 0 <= self.count <= self.n or self.n == 0:
            return None
        from scipy.stats import binomtest

        found = binomtest(self.count, self.n).proportion_ci(confidence_level=0.95, method="wilson")
        return float(found.low), float(found.high)

    def to_dict(self) -> dict[str, float | int | None]:
        """The rate as JSON knows it."""
        low, high = self.interval or (None, None)
        return {"value": self.value, "count": self.count, "n": self.n, "low": low, "high": high}

    def __str__(self) -> str:
        if self.value is None:
            return "n/a"
        ends = f" [{self.interval[0]:.1%}, {self.interval[1]:.1%}]" if self.interval else ""
        return f"{self.value:.1%}{ends}"


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """The 95 % Wilson interval of a share of n images, where neither the count nor n need be whole; n must be positive."""
    z = NormalDist().inv_cdf(0.975)
    centre, weight = share + z * z / (2 * n), 1 + z * z / n
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / weight), min(1.0, (centre + half) / weight)
