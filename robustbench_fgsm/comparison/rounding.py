"""Decide with our own gradients whether rounding or a tie explains a pixel on which two implementations differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import feature_tensor
from robustbench_fgsm.attack.direction import steepest_direction
from robustbench_fgsm.attack.gradient import loss_gradient
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.attack.step import step
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.errors import ModelError, is_out_of_memory
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.spec import AGREEMENT_TOLERANCE, AttackSpec

TIE_DITHER = 1e-6
"""Largest change of a pixel that breaks ties between equal pixels in max-pooling."""


@dataclass(frozen=True, kw_only=True)
class RoundingAnalysis:
    """Gradients of one classifier in float64, in channels-last layout, and at dithered images, computed when first needed.

    If the classifier has no variants, only pixels whose gradient is exactly zero are explained. different_execution: whether
    the other side ran under another plan, framework or device; only then do ties count. norm_floor: norm of the gradient
    below which the other side makes its step too small.
    """

    classifier: Classifier
    spec: AttackSpec
    different_execution: bool
    norm_floor: float = 0.0

    @property
    def norm(self) -> float:
        """Return the norm of the attack."""
        return self.spec.norm

    @property
    def epsilon(self) -> float:
        """Return the one epsilon of the attack."""
        return self.spec.epsilons[0]

    def budget(self, x: Tensor) -> float | Tensor:
        """Return the epsilon of images x (N, ...): a number, or one for each feature (1, ...) if there is an epsilon scale."""
        scale = self._scale(x)
        return self.epsilon if scale is None else torch.full((1,) * x.ndim, self.epsilon, dtype=x.dtype, device=x.device) * scale

    def _scale(self, x: Tensor) -> Tensor | None:
        return None if self.spec.epsilon_scale is None else feature_tensor(self.spec.epsilon_scale, x, "epsilon scale")

    @cached_property
    def _float64(self) -> TorchClassifier | None:
        return self.classifier.variant(torch.float64) if has_variants(self.classifier) else None

    @cached_property
    def _channels_last(self) -> TorchClassifier | None:
        layout = torch.channels_last
        return self.classifier.variant(memory_format=layout) if has_variants(self.classifier) else None

    def _direction_in_float64(self, x: Tensor, y: Tensor) -> Tensor | None:
        """Return the direction in float64; None if the network runs in one way only, or casts to another precision inside."""
        if self._float64 is None:
            return None
        try:
            return self._direction(self._float64, x.double(), y)
        except (RuntimeError, TypeError, ValueError, ModelError) as error:
            if is_out_of_memory(error):
                raise
            return None

    def rounding_pixels(self, attacked: AttackedBatch, rows: Tensor) -> Tensor:
        """Return the pixels (R, C, H, W) of the images in rows (N,) whose sign depends on rounding."""
        computed = attacked.gradient_step.direction[rows].sign()
        x, y = attacked.gradient_step.x[rows], attacked.labels_or_targets[rows]
        exact = self._direction_in_float64(x, y)
        if exact is None or self._channels_last is None:
            scale = self._scale(x)
            return (computed == 0).cpu() if scale is None else ((computed == 0) & (scale > 0)).cpu()
        differs = exact != computed
        if x.ndim == 4:
            differs |= self._direction(self._channels_last, x.contiguous(memory_format=torch.channels_last), y) != computed
        return differs.cpu()

    def tied_pixels(self, attacked: AttackedBatch, rows: Tensor) -> Tensor:
        """Return the pixels (R, C, H, W) of the images in rows (N,) whose sign a dither changes, if ties count."""
        computed = attacked.gradient_step.direction[rows].sign()
        if not self.different_execution:
            return torch.zeros_like(computed, dtype=torch.bool).cpu()
        x = attacked.gradient_step.x[rows]
        dither = torch.empty_like(x).uniform_(-TIE_DITHER, TIE_DITHER, generator=torch.Generator(x.device).manual_seed(0))
        return (self._direction(self.classifier, x + dither, attacked.labels_or_targets[rows]) != computed).cpu()

    def subnormal_images(self, attacked: AttackedBatch, rows: Tensor, ours: Tensor) -> Tensor:
        """Return the images (R,) in rows (N,) on which the other side underflows and our image is right by float64 arithmetic.

        The other side underflows if the powers in the gradient's dual norm are on average below the smallest normal
        float32 number, or if this norm is below the floor of the other side.
        """
        none = torch.zeros(int(rows.sum()), dtype=torch.bool)
        if self.norm in (1, math.inf) or not rows.any():
            return none
        x = attacked.gradient_step.x[rows]
        gradient, _ = loss_gradient(self.classifier, x, attacked.labels_or_targets[rows], get_loss(self.spec.loss))
        x, gradient = x.double(), gradient.double()
        dual = self.norm / (self.norm - 1)
        powers = gradient.flatten(1).abs().pow(dual)
        underflows = powers.mean(1) < torch.finfo(torch.float32).tiny
        underflows |= powers.sum(1).pow(1 / dual) < self.norm_floor
        uphill = steepest_direction(-gradient if attacked.targeted else gradient, self.norm)
        exact = step(x, uphill, torch.tensor(self.epsilon, dtype=x.dtype, device=x.device), self.norm, self.spec.bounds)
        right = (exact.cpu() - ours[rows.cpu()]).abs().flatten(1).amax(1) <= AGREEMENT_TOLERANCE
        return underflows.cpu() & right

    def _direction(self, classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
        gradient, _ = loss_gradient(classifier, x, y, get_loss(self.spec.loss))
        sign = steepest_direction(-gradient if self.spec.target.targeted else gradient, math.inf)
        scale = self._scale(x)
        return sign if scale is None else torch.where(scale > 0, sign, 0)


def has_variants(classifier: Classifier) -> TypeGuard[TorchClassifier]:
    """Return True if the classifier also runs in other precisions and memory layouts."""
    return isinstance(classifier, TorchClassifier) and classifier.has_variants
