"""Two batches of adversarial images, pixel by pixel: what differs, and what our own gradients say about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from robustbench_fgsm.compare.explanation import TOLERANCE, Explanation
from robustbench_fgsm.measure.attacks import AttackedBatch

MOST_EXPLAINED = 0.01
"""Largest share of pixels that may differ, be it explained, in implementations that agree."""


@dataclass(frozen=True)
class Agreement:
    """Counts over images and pixels (one for each channel); adds over batches.

    pixels_explained: differing pixels whose sign our own gradients do not agree on, as computed, in float64 and in
    the other memory layout. pixels_tied: the rest of those whose sign depends on a dither of 1e-6, counted only
    where the two sides ran differently. images_subnormal: images that differ under a finite norm because the other
    side's float32 norm of the gradient is subnormal or zero, while ours is right by float64. predictions_unexplained:
    images with no differing pixel and yet two predictions.
    """

    images: int = 0
    images_differing: int = 0
    images_subnormal: int = 0
    pixels: int = 0
    pixels_differing: int = 0
    pixels_explained: int = 0
    pixels_tied: int = 0
    predictions_agree: int = 0
    predictions_unexplained: int = 0
    max_abs_difference: float = 0.0

    def __add__(self, other: Agreement) -> Agreement:
        sums: dict[str, Any] = {
            field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)
        }
        return Agreement(**(sums | {"max_abs_difference": max(self.max_abs_difference, other.max_abs_difference)}))

    def disagreements(self, norm: float) -> list[str]:
        """Why the two do not agree, a sentence each; none where they agree."""
        reasons: list[str] = []
        excused = self.pixels_explained + self.pixels_tied
        if norm == math.inf and self.pixels_differing > excused:
            unexplained = self.pixels_differing - excused
            reasons.append(
                f"{unexplained:,} of {self.pixels:,} pixels differ by up to {self.max_abs_difference:.3g}, "
                "and rounding does not explain it"
            )
        if norm == math.inf and excused > MOST_EXPLAINED * self.pixels:
            reasons.append(
                f"{excused:,} of {self.pixels:,} pixels differ by rounding or ties, more than {MOST_EXPLAINED:.0%}"
            )
        if norm != math.inf and self.images_differing > self.images_subnormal:
            reasons.append(
                f"{self.images_differing - self.images_subnormal:,} of {self.images:,} images differ "
                f"by up to {self.max_abs_difference:.3g}, and an underflow of the gradient's norm does not explain it"
            )
        if self.predictions_unexplained:
            reasons.append(
                f"{self.predictions_unexplained:,} of {self.images:,} images are equal and yet predicted differently"
            )
        return reasons


def compare_batch(
    explanation: Explanation,
    attacked: AttackedBatch,
    ours: Tensor,
    theirs: Tensor,
    our_classes: Tensor,
    their_classes: Tensor,
) -> Agreement:
    """Compare two adversarial batches (N, C, H, W) and the classes (N,) that each side predicts for its own."""
    gap = (ours - theirs).abs().nan_to_num(nan=math.inf)
    differs = gap > TOLERANCE
    rows = differs.flatten(1).any(1)
    same_class = our_classes == their_classes
    explained = tied = subnormal = 0
    if explanation.norm != math.inf:
        subnormal = int(explanation.subnormal(attacked, rows, ours).sum())
    elif rows.any():
        by_rounding = differs[rows] & explanation.rounding(attacked, rows)
        explained = int(by_rounding.sum())
        tied = int((differs[rows] & ~by_rounding & explanation.ties(attacked, rows)).sum())
    return Agreement(
        images=len(ours),
        images_differing=int(rows.sum()),
        images_subnormal=subnormal,
        pixels=ours.numel(),
        pixels_differing=int(differs.sum()),
        pixels_explained=explained,
        pixels_tied=tied,
        predictions_agree=int(same_class.sum()),
        predictions_unexplained=int((~same_class & ~rows).sum()),
        max_abs_difference=float(gap.max()) if gap.numel() else 0.0,
    )
