"""Compare two batches of adversarial images pixel by pixel, and count the differences that rounding or ties explain."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import pixel_tolerance
from robustbench_fgsm.attack.gradient import NO_CLASS
from robustbench_fgsm.comparison.rounding import RoundingAnalysis
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.options import FLOOR

"""Name of what can be ignored: steps of the other side that are too short, where its norm of the gradient has a floor."""

MAX_EXPLAINED_SHARE = 0.01
"""Implementations agree only if at most this share of the pixels differs, even if every difference is explained."""


@dataclass(frozen=True)
class Agreement:
    """Counts of images and pixels (one for each channel), which add over batches.

    Attributes:
        images_subnormal: images that differ under a finite norm because the other side's gradient norm underflows in float32.
        pixels_explained: differing pixels on whose sign our gradients in float32, in float64 and in the other memory
            layout do not agree.
        pixels_tied: other differing pixels whose sign depends on a dither of 1e-6; counted only if the two sides ran
            under different plans, frameworks or devices.
        predictions_unexplained: images without a differing pixel but with two predictions.
        predictions_missing: images without a prediction on one side or both, because the outputs are not finite.
        ours_only: images on which the attack succeeds on our side only.
        theirs_only: images on which the attack succeeds on the other side only.
        pixels_equal: pixels that are equal to the last bit; +0 equals -0.
        max_ulps: largest distance of two pixels that do not differ, see `largest_ulps`.
        max_unexplained_difference: largest difference that neither rounding nor a tie nor an underflow explains.
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
    predictions_missing: int = 0
    ours_only: int = 0
    theirs_only: int = 0
    pixels_equal: int = 0
    max_ulps: int = 0
    max_abs_difference: float = 0.0
    max_unexplained_difference: float = 0.0

    def __add__(self, other: Agreement) -> Agreement:
        merged: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            merge = max if name.startswith("max_") else add
            merged[name] = merge(getattr(self, name), getattr(other, name))
        return Agreement(**merged)

    def disagreement_reasons(self, norm: float, ignore: Collection[str] = ()) -> list[str]:
        """Return why the two sides do not agree, one sentence per reason; empty if they agree.

        ignore: `floor` accepts images whose gradient is below the smallest norm that the other side handles.
        """
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
        if self.images_subnormal and FLOOR not in ignore:
            reasons.append(
                f"{self.images_subnormal:,} of {self.images:,} images differ because its step is too short where the norm of "
                "the gradient is below its floor or underflows: pass --ignore floor to accept them"
            )
        if self.predictions_missing:
            reasons.append(
                f"{self.predictions_missing:,} of {self.images:,} images have outputs that are not finite, so no prediction"
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
    """Compare two batches of adversarial images (N, C, H, W), and what each side predicts for its images.

    Predictions are classes (N,), or multi-hot labels (N, K), which agree if all labels of an image do.
    """
    gap = (ours - theirs).abs().nan_to_num(nan=math.inf)
    differs = gap > pixel_tolerance(rounding_analysis.spec.bounds, ours)
    rows = differs.flatten(1).any(1)
    missing = any_label((our_predictions == NO_CLASS) | (their_predictions == NO_CLASS))
    same_class = ~any_label(our_predictions != their_predictions) & ~missing
    explained, tied, subnormal = explained_differences(rounding_analysis, attacked, ours, differs)
    unexplained = differs[rows] & ~(explained | tied) & ~subnormal.reshape(-1, *[1] * (ours.ndim - 1))
    our_success, their_success = attack_succeeded(attacked, our_predictions), attack_succeeded(attacked, their_predictions)
    budget = rounding_analysis.budget(ours)
    budget = budget.expand_as(ours)[~differs] if isinstance(budget, Tensor) else budget
    return Agreement(
        images=len(ours),
        images_differing=int(rows.sum()),
        images_subnormal=int(subnormal.sum()),
        pixels=ours.numel(),
        pixels_differing=int(differs.sum()),
        pixels_explained=int(explained.sum()),
        pixels_tied=int(tied.sum()),
        predictions_agree=int(same_class.sum()),
        predictions_unexplained=int((~same_class & ~missing & ~rows).sum()),
        predictions_missing=int(missing.sum()),
        ours_only=int((our_success & ~their_success).sum()),
        theirs_only=int((their_success & ~our_success).sum()),
        pixels_equal=int((ours == theirs).sum()),
        max_ulps=largest_ulps(ours[~differs], theirs[~differs], budget),
        max_abs_difference=largest_or_zero(gap),
        max_unexplained_difference=largest_or_zero(gap[rows][unexplained]),
    )


def explained_differences(
    rounding_analysis: RoundingAnalysis, attacked: AttackedBatch, ours: Tensor, differs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what explains the R images with a differing pixel, as bool tensors.

    Returns:
        The pixels (R, C, H, W) that rounding explains, the other pixels that a tie explains, and the images (R,) that an
        underflow of the other side explains.
    """
    rows = differs.flatten(1).any(1)
    none = torch.zeros_like(differs[rows])
    subnormal = rounding_analysis.subnormal_images(attacked, rows, ours)
    if rounding_analysis.norm != math.inf or not rows.any():
        return none, none, subnormal
    by_rounding = differs[rows] & rounding_analysis.rounding_pixels(attacked, rows)
    return by_rounding, differs[rows] & ~by_rounding & rounding_analysis.tied_pixels(attacked, rows), subnormal


def attack_succeeded(attacked: AttackedBatch, predictions: Tensor) -> Tensor:
    """Return the images (N,) with a prediction other than their label or, if the attack is targeted, equal to their target."""
    if attacked.targeted:
        return predictions.cpu() == attacked.labels_or_targets.cpu()
    return any_label(predictions.cpu() != attacked.batch.labels) & ~any_label(predictions.cpu() == NO_CLASS)


def any_label(flags: Tensor) -> Tensor:
    """Return the images (N,) of which any label has the flag; flags (N,) of classes stay as they are."""
    return flags if flags.ndim == 1 else flags.any(1)


def largest_or_zero(differences: Tensor) -> float:
    """Return the largest difference, 0 for an empty tensor."""
    return float(differences.max()) if differences.numel() else 0.0


def largest_ulps(ours: Tensor, theirs: Tensor, epsilon: float | Tensor) -> int:
    """Return the largest distance of two finite pixels in float32 units in the last place, rounded up.

    The unit is the unit of the largest of the two pixels and epsilon, because a step adds epsilon to a pixel and rounds. A
    pixel that ends near 0 has a rounding error of thousands of its own units.
    """
    apart = ours != theirs
    if not apart.any():
        return 0
    pair = torch.stack([ours[apart], theirs[apart]]).double()
    budgets = epsilon[apart].double().numpy() if isinstance(epsilon, Tensor) else epsilon
    magnitude = np.maximum(pair.abs().amax(0).numpy(), budgets).astype(np.float32)
    distance = (pair[0] - pair[1]).abs().numpy()
    return int(np.ceil(distance / np.spacing(magnitude).astype(np.float64)).max())
