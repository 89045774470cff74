"""Find predictions that rounding could change, by bounds measured on the network, and draw the images of the audit.

A guarded plan only predicts: gradients, and all that comes before the attack, are those of the plain network. A forward pass is
continuous, so its rounding errors have one size for one network. A ReLU or a pooling layer can turn an error into another
gradient, but not into another output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.stats.tally import Int64Array
from robustbench_fgsm.stats.tolerance import CONFIDENCE, COVERED_SHARE, upper_tolerance_limit

Margins = TypeVar("Margins", Tensor, NDArray[Any])

AUDIT_IMAGES = 600
"""Expected number of audited images: the number is random, and below 500 once in 100,000 runs."""


@dataclass(frozen=True)
class RoundingGuard:
    """Bounds on how far a plan moves the margin between two outputs of an image.

    absolute: bound in units of the outputs. relative: bound as a share of the image's largest output. images: measured changes.
    largest: the largest measured change, as a share of the image's largest output. audit_share: share of all images to audit.
    """

    absolute: float
    relative: float
    images: int
    largest: float
    audit_share: float

    @classmethod
    def measure(cls, pairs: Sequence[tuple[Tensor, Tensor]], num_images: int) -> RoundingGuard:
        """Return the bounds for pairs of outputs (N, K) of the plain and the planned network, in a run of so many images."""
        plain, planned = (torch.cat(outputs).double() for outputs in zip(*pairs, strict=True))
        difference, scale = planned - plain, plain.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny)
        change = (difference - difference.gather(1, planned.argmax(1, keepdim=True))).abs().amax(1)
        change = torch.maximum(change, torch.finfo(torch.float32).eps / 2 * scale)  # no output is more exact
        share = change / scale
        limits = upper_tolerance_limit(change.tolist()), upper_tolerance_limit(share.tolist())
        return cls(*limits, len(change), float(share.max()), min(1.0, AUDIT_IMAGES / num_images))

    def at_risk(self, outputs: Tensor) -> Tensor:
        """Return the images (N,) bool whose largest two outputs (N, K) are closer than the bounds, or not finite."""
        return self.are_close(measure_margins(outputs))

    def are_close(self, margins: Margins) -> Margins:
        """Return (...) bool, whether margins (..., 2) as of `measure_margins` are within the bounds, or not finite."""
        return ~((margins[..., 0] > self.absolute) & (margins[..., 1] > self.relative))

    def draw_audit(self, ids: Int64Array, seed: int) -> Tensor:
        """Return the images (N,) bool of the audit, drawn by (seed, id) alone."""
        with np.errstate(over="ignore"):  # splitmix64 (Steele et al. 2014, doi:10.1145/2660193.2660195), modulo 2**64
            mixed = (ids.astype(np.uint64) + np.uint64(seed % 2**63) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return torch.from_numpy((mixed ^ (mixed >> np.uint64(31))).astype(np.float64) < self.audit_share * 2.0**64)

    def to_dict(self) -> dict[str, Any]:
        """Return the bounds as a JSON object, with what they promise."""
        return asdict(self) | {"covered_share": COVERED_SHARE, "confidence": CONFIDENCE}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> RoundingGuard:
        """Return the bounds that `to_dict` wrote; raise KeyError, TypeError or ValueError for any other object."""
        absolute, relative, largest, share = (float(found[name]) for name in ("absolute", "relative", "largest", "audit_share"))
        return cls(absolute, relative, int(found["images"]), largest, share)


def measure_margins(outputs: Tensor) -> Tensor:
    """Return distances (..., 2) float64 of the largest output (..., K) from the second: in its units, and as a share of it.

    The largest output of the second distance is the one with the largest magnitude. A distance without a second output is infinite.
    """
    if outputs.shape[-1] < 2:
        return outputs.new_full((*outputs.shape[:-1], 2), math.inf, dtype=torch.float64)
    first, second = outputs.topk(2, -1).values.double().unbind(-1)
    return torch.stack([first - second, (first - second) / outputs.abs().amax(-1)], -1)
