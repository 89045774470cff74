"""What our own gradients say about a pixel on which two implementations differ."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TypeGuard

import torch
from torch import Tensor

from robustbench_fgsm.attack.direction import steepest_direction
from robustbench_fgsm.attack.gradient import loss_gradient
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.attack.step import step
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.spec import AGREEMENT_TOLERANCE, AttackSpec

TIE_DITHER = 1e-6
"""How far beside an image its pooling ties are broken."""


class RoundingAnalysis:
    """Gradients of the same classifier in float64, in channels-last, and beside a dithered image; made when first needed.

    A classifier that offers none of them explains no difference but on pixels whose gradient is exactly zero.
    different_execution: whether the other side ran in another memory layout, framework or device; only then do ties count.
    norm_floor: norm of the summed loss' gradient below which the other side is known to under-scale its step.
    """

    def __init__(self, classifier: Classifier, spec: AttackSpec, *, different_execution: bool, norm_floor: float = 0.0) -> None:
        self._classifier = classifier
        self._spec = spec
        self._different_execution = different_execution
        self._norm_floor = norm_floor

    @property
    def norm(self) -> float:
        """The norm of the attack."""
        return self._spec.norm

    @property
    def epsilon(self) -> float:
        """The budget of the attack."""
        return self._spec.epsilons[0]

    @cached_property
    def _float64(self) -> TorchClassifier | None:
        return self._classifier.variant(torch.float64) if has_variants(self._classifier) else None

    @cached_property
    def _channels_last(self) -> TorchClassifier | None:
        layout = torch.channels_last
        return self._classifier.variant(memory_format=layout) if has_variants(self._classifier) else None

    def rounding_pixels(self, attacked: AttackedBatch, rows: Tensor) -> Tensor:
        """Pixels of the images in rows (N,) whose sign depends on how the gradient is rounded: (R, C, H, W) bool."""
        computed = attacked.gradient_step.direction[rows]
        if self._float64 is None or self._channels_last is None:
            return (computed == 0).cpu()
        x, aim = attacked.gradient_step.x[rows], attacked.labels_or_targets[rows]
        unsure = self._direction(self._float64, x.double(), aim).sign() != computed
        unsure |= self._direction(self._channels_last, x.contiguous(memory_format=torch.channels_last), aim) != computed
        return unsure.cpu()

    def tied_pixels(self, attacked: AttackedBatch, rows: Tensor) -> Tensor:
        """Pixels of the images in rows (N,) whose sign a dither changes: (R, C, H, W) bool; none where both sides ran alike."""
        computed = attacked.gradient_step.direction[rows]
        if not self._different_execution:
            return torch.zeros_like(computed, dtype=torch.bool).cpu()
        x = attacked.gradient_step.x[rows]
        dither = torch.empty_like(x).uniform_(-TIE_DITHER, TIE_DITHER, generator=torch.Generator(x.device).manual_seed(0))
        return (self._direction(self._classifier, x + dither, attacked.labels_or_targets[rows]) != computed).cpu()

    def subnormal_images(self, attacked: AttackedBatch, rows: Tensor, ours: Tensor) -> Tensor:
        """Images in rows (N,) whose difference is the other side's underflow: (R,) bool.

        So it is where the powers that make up the gradient's dual norm are, on average, below the smallest normal
        float32, or that norm is below the floor that the other side is known to have, and where our own image is right
        by float64 arithmetic on the same gradient.
        """
        none = torch.zeros(int(rows.sum()), dtype=torch.bool)
        if self.norm in (1, math.inf) or not rows.any():
            return none
        x = attacked.gradient_step.x[rows]
        gradient, _ = loss_gradient(self._classifier, x, attacked.labels_or_targets[rows], get_loss(self._spec.loss))
        x, gradient = x.double(), gradient.double()
        dual = self.norm / (self.norm - 1)
        powers = gradient.flatten(1).abs().pow(dual)
        underflows = powers.mean(1) < torch.finfo(torch.float32).tiny
        underflows |= powers.sum(1).pow(1 / dual) < self._norm_floor
        uphill = steepest_direction(-gradient if attacked.targeted else gradient, self.norm)
        exact = step(x, uphill, torch.tensor(self.epsilon, dtype=x.dtype, device=x.device), self.norm, self._spec.bounds)
        right = (exact.cpu() - ours[rows.cpu()]).abs().flatten(1).amax(1) <= AGREEMENT_TOLERANCE
        return underflows.cpu() & right

    def _direction(self, classifier: Classifier, x: Tensor, aim: Tensor) -> Tensor:
        gradient, _ = loss_gradient(classifier, x, aim, get_loss(self._spec.loss))
        return steepest_direction(-gradient if self._spec.target.targeted else gradient, self.norm)


def has_variants(classifier: Classifier) -> TypeGuard[TorchClassifier]:
    """Whether it runs in other precisions and memory layouts."""
    return isinstance(classifier, TorchClassifier) and classifier.has_variants
