"""Find images that repeat others: exact copies with one label are one observation, not several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustbench_fgsm.stats.tally import BoolArray, Int64Array


def find_repeats(labels: Int64Array, hashes: Int64Array, ids: Int64Array) -> BoolArray:
    """Return the images (N,) that equal an image of a smaller id, by hash and label."""
    order = np.lexsort((ids, hashes, labels))
    repeats = np.zeros(len(order), np.bool_)
    repeats[order[1:]] = (np.diff(labels[order]) == 0) & (np.diff(hashes[order]) == 0)
    return repeats


def effective_number(labels: Int64Array, hashes: Int64Array) -> float:
    """Return the number of independent images whose rate varies as much as that of N images with copies: N^2 / sum of squares.

    Kish 1965, Survey Sampling, section 8.2; the squares are those of the numbers of copies of each different image.
    """
    _, copies = np.unique(np.stack([labels, hashes]), axis=1, return_counts=True)
    return float(len(labels) ** 2 / np.square(copies).sum()) if len(labels) else 0.0


LabelsAndHashes = tuple[Int64Array, Int64Array]
"""Labels and hashes (N,) of some images; labels (N, K) of a multi-label network are not compared."""

WARNING_SHARE = 0.01
"""Share of repeated images above which intervals are too narrow by more than rounding."""


@dataclass(frozen=True)
class RepeatedImages:
    """Number of images, of those that repeat another one, and of independent images whose rate varies as much.

    One rule holds for all results: rates and their intervals count all images, and a warning says how much wider intervals should
    be. Verdicts of gates count each different image once.
    """

    n: int = 0
    repeats: int = 0
    effective: float = 0.0

    @classmethod
    def of(cls, parts: Sequence[LabelsAndHashes]) -> RepeatedImages:
        """Count the repeated images among all parts."""
        none = np.zeros(0, np.int64)
        labels = np.concatenate([none, *(found if found.ndim == 1 else np.zeros(len(found), np.int64) for found, _ in parts)])
        hashes = np.concatenate([none, *(found for _, found in parts)])
        repeats = find_repeats(labels, hashes, np.arange(len(labels)))
        return cls(len(labels), int(repeats.sum()), effective_number(labels, hashes))

    @property
    def warnings(self) -> list[str]:
        """Return a warning if more than 1 % of the images repeat another one, with what this does to intervals."""
        if self.repeats <= WARNING_SHARE * self.n:
            return []
        return [
            f"{self.repeats:,} of {self.n:,} images repeat another image of their class: intervals take all as independent, and "
            f"should be {math.sqrt(self.n / self.effective):.1f} times as wide: remove the copies"
        ]


NO_REPEATS = RepeatedImages()
