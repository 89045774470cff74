"""Two batches of adversarial images, pixel by pixel: what differs, and what our own gradients say about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.comparison.rounding import RoundingAnalysis
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.spec import AGREEMENT_TOLERANCE

MAX_EXPLAINED_SHARE = 0.01
"""Largest share of pixels that may differ, be it explained, in implementations that agree."""


@dataclass(frozen=True)
class Agreement:
    """Counts over images and pixels (one for each channel); adds over batches.

    pixels_equal: to the last bit, +0 and -0 alike. max_ulps: the largest distance of two pixels that do not differ, see
    `largest_ulps`. max_unexplained_difference: the largest difference that neither rounding, a tie nor an underflow
    explains. ours_only, theirs_only: images that end as the attack wants on one side alone, whatever they were before.
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
    ours_only: int = 0
    theirs_only: int = 0
    pixels_equal: int = 0
    max_ulps: int = 0
    max_abs_difference: float = 0.0
    max_unexplained_difference: float = 0.0

    def __add__(self, other: Agreement) -> Agreement:
        both: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            merge = max if name.startswith("max_") else add
            both[name] = merge(getattr(self, name), getattr(other, name))
        return Agreement(**both)

    def disagreement_reasons(self, norm: float) -> list[str]:
        """Why the two do not agree, a sentence each; none where they agree."""
        reasons: list[str] = []
        excused = self.pixels_explained + self.pixels_tied
        if norm == math.inf and self.pixels_differing > excused:
            unexplained = self.pixels_differing - excused
            reasons.append(
                f"{unexplained:,} of {self.pixels:,} pixels differ by up to {self.max_unexplained_difference:.3g}, "
                "and rounding does not explain it"
            )
        if norm == math.inf and excused > MAX_EXPLAINED_SHARE * self.pixels:
            reasons.append(f"{excused:,} of {self.pixels:,} pixels differ by rounding or ties, more than {MAX_EXPLAINED_SHARE:.0%}")
        if norm != math.inf and self.images_differing > self.images_subnormal:
            reasons.append(
                f"{self.images_differing - self.images_subnormal:,} of {self.images:,} images differ "
                f"by up to {self.max_unexplained_difference:.3g}, and an underflow of the gradient's norm does not explain it"
            )
        if self.predictions_unexplained:
            reasons.append(f"{self.predictions_unexplained:,} of {self.images:,} images are equal and yet predicted differently")
        return reasons


def compare_batch(
    rounding_analysis: RoundingAnalysis,
    attacked: AttackedBatch,
    ours: Tensor,
    theirs: Tensor,
    our_predictions: Tensor,
    their_predictions: Tensor,
) -> Agreement:
    """Compare two adversarial batches (N, C, H, W) and the classes (N,) that each side predicts for its own."""
    gap = (ours - theirs).abs().nan_to_num(nan=math.inf)
    differs = gap > AGREEMENT_TOLERANCE
    rows = differs.flatten(1).any(1)
    same_class = our_predictions == their_predictions
    explained, tied, subnormal = explained_differences(rounding_analysis, attacked, ours, differs)
    unexplained = differs[rows] & ~(explained | tied) & ~subnormal.reshape(-1, *[1] * (ours.ndim - 1))
    our_success, their_success = attack_succeeded(attacked, our_predictions), attack_succeeded(attacked, their_predictions)
    return Agreement(
        images=len(ours),
        images_differing=int(rows.sum()),
        images_subnormal=int(subnormal.sum()),
        pixels=ours.numel(),
        pixels_differing=int(differs.sum()),
        pixels_explained=int(explained.sum()),
        pixels_tied=int(tied.sum()),
        predictions_agree=int(same_class.sum()),
        predictions_unexplained=int((~same_class & ~rows).sum()),
        ours_only=int((our_success & ~their_success).sum()),
        theirs_only=int((their_success & ~our_success).sum()),
        pixels_equal=int((ours == theirs).sum()),
        max_ulps=largest_ulps(ours[~differs], theirs[~differs], rounding_analysis.epsilon),
        max_abs_difference=largest_or_zero(gap),
        max_unexplained_difference=largest_or_zero(gap[rows][unexplained]),
    )


def explained_differences(
    rounding_analysis: RoundingAnalysis, attacked: AttackedBatch, ours: Tensor, differs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What excuses the R images with a differing pixel, all bool.

    Returns pixels (R, C, H, W) that rounding explains, the rest of those that a tie does, and images (R,) that the other
    side's underflow explains.
    """
    rows = differs.flatten(1).any(1)
    none = torch.zeros_like(differs[rows])
    subnormal = rounding_analysis.subnormal_images(attacked, rows, ours)
    if rounding_analysis.norm != math.inf or not rows.any():
        return none, none, subnormal
    by_rounding = differs[rows] & rounding_analysis.rounding_pixels(attacked, rows)
    return by_rounding, differs[rows] & ~by_rounding & rounding_analysis.tied_pixels(attacked, rows), subnormal


def attack_succeeded(attacked: AttackedBatch, predictions: Tensor) -> Tensor:
    """Images (N,) that end as the attack wants: of another class than their label, or of the target."""
    if attacked.targeted:
        return predictions.cpu() == attacked.labels_or_targets.cpu()
    return predictions.cpu() != attacked.batch.labels


def largest_or_zero(differences: Tensor) -> float:
    """The largest of these differences; 0 where there are none."""
    return float(differences.max()) if differences.numel() else 0.0


def largest_ulps(ours: Tensor, theirs: Tensor, epsilon: float) -> int:
    """The largest distance of two finite pixels in float32 units in the last place, rounded up: 0 where all are equal.

    The unit is that of the larger of the two pixels and epsilon, since a step adds epsilon to a pixel and rounds there: a
    pixel that ends near 0 carries the rounding of the numbers whose difference it is, thousands of its own units.
    """
    apart = ours != theirs
    if not apart.any():
        return 0
    pair = torch.stack([ours[apart], theirs[apart]]).double()
    magnitude = np.maximum(pair.abs().amax(0).numpy(), epsilon).astype(np.float32)
    distance = (pair[0] - pair[1]).abs().numpy()
    return int(np.ceil(distance / np.spacing(magnitude).astype(np.float64)).max())
