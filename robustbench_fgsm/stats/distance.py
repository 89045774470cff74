"""Distances of images as positions on a fixed scale, and their counts, which add: quantiles, and accuracy over epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.stats.tally import BatchOutcomes, BoolArray, Int64Array

COARSE_GRID = tuple(share / 127.5 for share in (1, 2, 4, 8, 16, 32, 64, 127.5))
"""Coarse budgets as shares of the largest budget: 1/255, 2/255, 4/255, ... if that is 0.5."""

BISECTIONS = 6
"""Halvings of the first interval of the coarse grid whose end fools an image."""

STEPS = 2**BISECTIONS
CENSORED = len(COARSE_GRID) * STEPS + 1
"""Position of an image that no tried budget fools."""

UNKNOWN = CENSORED + 1
"""Position of an image that no tried budget fools, and whose outputs are not finite at a tried budget."""

COARSE_SHARE = 0.05
"""Share of the images at the smallest budget above which the scale is too coarse for these images."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
CONFIDENCE = 0.95


def distance_levels(max_epsilon: float) -> NDArray[np.float64]:
    """Return the distance (515,) at each position: 0, the budgets that the search tries, infinity if censored, NaN if unknown."""
    coarse = np.array([0.0, *(share * max_epsilon for share in COARSE_GRID)])
    tried = np.interp(np.arange(CENSORED), np.arange(len(coarse)) * STEPS, coarse)
    return np.concatenate([tried, [np.inf, np.nan]])


@dataclass(frozen=True)
class ImageDistances:
    """Distances of N images along the directions of one attack, by ascending id.

    ids, labels: (N,) int64. positions: (N,) int64 in `distance_levels(max_epsilon)`, from 0 to 514.
    """

    ids: Int64Array
    labels: Int64Array
    positions: Int64Array
    max_epsilon: float

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def values(self) -> NDArray[np.float32]:
        """Distances (N,): 0 if wrong before the attack, infinity if no tried budget fools the image, NaN if unknown."""
        return distance_levels(self.max_epsilon)[self.positions].astype(np.float32)


def image_distances(parts: Sequence[BatchOutcomes], max_epsilon: float) -> ImageDistances:
    """Return the distances in these outcomes, all of one attack."""
    columns = ([getattr(part, name) for part in parts] for name in ("ids", "labels", "distances"))
    ids, labels, positions = (np.concatenate([np.zeros(0, np.int64), *column]) for column in columns)
    order = np.argsort(ids, kind="stable")
    return ImageDistances(ids[order], labels[order], positions[order], max_epsilon)


@dataclass(frozen=True)
class PairedDistances:
    """Positions (N,) of the distances of the same images, of classes `labels` (N,), in a run and in its baseline."""

    labels: Int64Array
    run: Int64Array
    baseline: Int64Array
    max_epsilon: float

    def of_class(self, label: int) -> PairedDistances:
        """Return the images of one class."""
        return self.at(self.labels == label)

    def at(self, rows: BoolArray) -> PairedDistances:
        """Return some images; rows: (N,) bool."""
        return PairedDistances(self.labels[rows], self.run[rows], self.baseline[rows], self.max_epsilon)


@dataclass(frozen=True)
class DistanceCounts:
    """Numbers of images (K, 515) of each class at each position of the scale; counts of disjoint images add.

    max_epsilon: largest budget tried.
    """

    max_epsilon: float
    counts: Int64Array

    __repr__ = short_repr

    @classmethod
    def of(cls, outcomes: BatchOutcomes, num_classes: int, max_epsilon: float) -> DistanceCounts:
        """Count the distances of the outcomes."""
        assert outcomes.distances is not None  # noqa: S101  (the attack measures distances)
        width = UNKNOWN + 1
        places = outcomes.labels * width + outcomes.distances
        return cls(max_epsilon, np.bincount(places, minlength=num_classes * width).reshape(num_classes, width))

    @classmethod
    def empty(cls, num_classes: int, max_epsilon: float) -> DistanceCounts:
        """Return the counts of no image."""
        return cls(max_epsilon, np.zeros((num_classes, UNKNOWN + 1), np.int64))

    def __add__(self, other: DistanceCounts) -> DistanceCounts:
        return DistanceCounts(self.max_epsilon, self.counts + other.counts)

    @property
    def unknown(self) -> int:
        """Number of images whose outputs are not finite at a tried budget."""
        return int(self.counts[:, UNKNOWN].sum())

    @property
    def warnings(self) -> list[str]:
        """Return a warning if the smallest budget tried fools many images, or if no budget tried fools any."""
        whole, smallest = self.counts.sum(0), distance_levels(self.max_epsilon)[1]
        if whole[CENSORED] and not whole[1:CENSORED].any():
            return [f"distances: no image is fooled up to {self.max_epsilon:g}: raise --max-epsilon"]
        if whole[1] <= COARSE_SHARE * whole.sum():
            return []
        return [
            f"distances: {whole[1]:,} of {whole.sum():,} images are fooled by {smallest:.2g}, the smallest epsilon tried, so their "
            f"distances are too large: lower --max-epsilon, now {self.max_epsilon:g}"
        ]

    def to_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return quantiles, and the accuracy over epsilon, of all images and class by class, as a JSON object."""
        levels, whole = distance_levels(self.max_epsilon), self.counts.sum(0)
        beyond = whole.sum() - np.cumsum(whole)[:CENSORED]
        shown = np.diff(beyond, prepend=-1) != 0  # the curve falls there
        shown[-1] = True
        return {
            "max_epsilon": self.max_epsilon,
            "n": int(whole.sum()),
            "wrong_before": int(whole[0]),
            "censored": int(whole[CENSORED]),
            "unknown": self.unknown,
            "quantiles": quantiles(whole, levels),
            "curve": {"epsilon": levels[:CENSORED][shown].tolist(), "count": beyond[shown].tolist()},
            "per_class": [
                {"label": label, "name": name, "n": int(own.sum()), "median": quantiles(own, levels, (0.5,))[0]}
                for label, (name, own) in enumerate(zip(classes, self.counts, strict=True))
            ],
        }


def quantiles(counts: Int64Array, levels: NDArray[np.float64], shares: Sequence[float] = QUANTILES) -> list[dict[str, Any]]:
    """Return quantiles of the distance, each with a 95 % interval of two order statistics, as JSON objects.

    The ranks of the two order statistics follow from the binomial distribution (David and Nagaraja 2003, Order Statistics,
    section 7.1), so the intervals assume no distribution of the distances. A value is null if it lies beyond the largest budget.

    Args:
        counts: (515,) images at each position.
        levels: (515,) distances, from `distance_levels`.
        shares: shares of the images below the quantiles.
    """
    from scipy.stats import binom

    n, reached = int(counts.sum()), np.cumsum(counts)

    def order_statistic(rank: int) -> float | None:
        """Return the distance of this rank from 1 to n; None if it is censored, or there is no such rank."""
        at = int(np.searchsorted(reached, rank)) if 1 <= rank <= n else CENSORED
        return float(levels[at]) if at < CENSORED else None

    found = []
    for share in shares:
        low, high = (int(binom.ppf(tail, n, share)) for tail in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
        value = order_statistic(max(1, math.ceil(share * n)))
        ends = {"low": order_statistic(low) if low or not n else 0.0, "high": order_statistic(high + 1)}
        found.append({"share": share, "value": value, **ends})
    return found
