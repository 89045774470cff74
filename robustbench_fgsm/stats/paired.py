"""Two attacks on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import Flags


@dataclass(frozen=True)
class Paired:
    """Of n images, how many both attacks fool, how many the first alone, and how many the second alone."""

    n: int
    both: int
    first_only: int
    second_only: int

    @classmethod
    def of(cls, first: Flags, second: Flags) -> Paired:
        """first, second: (N,) bool, whether that attack fools the image."""
        counts = (np.count_nonzero(found) for found in (first & second, first & ~second, second & ~first))
        return cls(len(first), *map(int, counts))

    @property
    def first(self) -> Rate:
        """Fooled by the first attack."""
        return Rate(self.both + self.first_only, self.n)

    @property
    def second(self) -> Rate:
        """Fooled by the second attack."""
        return Rate(self.both + self.second_only, self.n)

    @property
    def lead(self) -> float | None:
        """By how much the second attack's share is larger; None of no images."""
        return (self.second_only - self.first_only) / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the lead for matched shares, by Agresti and Min 2005 (Statistics in Medicine 24:729)."""
        from scipy.stats import norm

        if not self.n:
            return None
        lead, error = self._adjusted()
        half = float(norm.ppf(0.975)) * error
        return max(-1.0, lead - half), min(1.0, lead + half)

    def first_leads(self) -> float:
        """The p of the one-sided exact McNemar test that the first attack is no stronger than the second."""
        from scipy.stats import binomtest

        discordant = self.first_only + self.second_only
        return float(binomtest(self.first_only, discordant, 0.5, "greater").pvalue) if discordant else 1.0

    def second_leads_by(self, least: float) -> float:
        """The p of the one-sided test that the second attack's lead is at least that; small where it is not."""
        from scipy.stats import norm

        lead, error = self._adjusted()
        return float(norm.cdf((lead - least) / error))

    def to_dict(self) -> dict[str, Any]:
        """The lead as JSON knows it."""
        low, high = self.interval or (None, None)
        return {"value": self.lead, "low": low, "high": high}

    def _adjusted(self) -> tuple[float, float]:
        """The lead and its standard error with half an image more in each of the four cells."""
        n, gained, lost = self.n + 2, self.second_only + 0.5, self.first_only + 0.5
        lead = (gained - lost) / n
        return lead, math.sqrt(gained + lost - n * lead * lead) / n
