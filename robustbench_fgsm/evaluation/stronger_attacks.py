"""Run stronger attacks, our PGD and ART's Square, to check FGSM's result."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import feature_tensor
from robustbench_fgsm.attack.fgsm import StepSettings
from robustbench_fgsm.attack.iterated import PGD_STEP_FACTOR, Iteration, iterate
from robustbench_fgsm.attack.outputs import DECLARED_OUTPUTS
from robustbench_fgsm.global_settings import float32_precision, preserve_generators, seed_generators
from robustbench_fgsm.models.art import ArtClassifier, to_art
from robustbench_fgsm.models.art_engine import preserve_estimator
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, has_convolutions, move_to_classifier
from robustbench_fgsm.spec import AttackSpec, check_bounds

ART_BATCH_SIZE = 256
SQUARE_INITIAL_SHARE = 0.8
"""Share of an image that Square's first square covers, ART's default."""

BALL_TOLERANCE = 1e-4
"""Relative distance by which rounding may move an image out of the ball."""


def make_art_estimator(classifier: Classifier, input_shape: tuple[int, ...]) -> Any:
    """ART's estimator with its own copy of the network; one with convolutions lies channels-last, which is faster."""
    if isinstance(classifier, TorchClassifier) and classifier.has_variants and has_convolutions(classifier.network):
        classifier = classifier.variant(memory_format=torch.channels_last)
        estimator = to_art(classifier, input_shape=input_shape)
        estimator.model.to(memory_format=torch.channels_last)
        return estimator
    return to_art(classifier, input_shape=input_shape)


@dataclass(frozen=True)
class ProjectedGradientDescent:
    """PGD at the settings of an attack: steps of 2.5 epsilon / steps along cross-entropy, from a random start.

    Args:
        classifier: computes the gradients.
        batch_size: images at a time; None for all.
        spec: the attack, with its norm, bounds, scale of epsilon, and seed of the starts.
        steps: number of steps.
    """

    classifier: Classifier
    batch_size: int | None
    spec: AttackSpec
    steps: int

    def perturb(self, x: Tensor, y: Tensor, ids: Tensor, epsilon: float, restart: int = 1) -> Tensor:
        """Return the images (N, ...) after the last step, whether or not they fool; y: labels or targets (N,).

        The start of an image depends on (seed, id, restart) alone. No image stops early: an image that is fooled at an earlier step
        may be right at the last one, so the count would be another one.
        """
        size = max(1, len(x) if self.batch_size is None else self.batch_size)
        parts = [slice(at, at + size) for at in range(0, len(x), size)]
        return torch.cat([self._perturb_part(x[part], y[part], ids[part], epsilon, restart) for part in parts] or [x.clone()])

    def _perturb_part(self, x: Tensor, y: Tensor, ids: Tensor, epsilon: float, restart: int) -> Tensor:
        spec, x = self.spec, move_to_classifier(x, self.classifier)
        scale = None if spec.epsilon_scale is None else feature_tensor(spec.epsilon_scale, x, "epsilon scale")
        loss = spec.loss if spec.loss in DECLARED_OUTPUTS else "ce"
        settings = StepSettings(spec.norm, spec.target.targeted, spec.bounds, loss=loss, stable=spec.stable, epsilon_scale=scale)
        images = settings.draw_start(x, ids, epsilon, seed=spec.seed, restart=restart)
        for step in iterate(self.classifier, x, y, epsilon, settings, Iteration(self.steps, step_factor=PGD_STEP_FACTOR), images):
            images = step.images
        return images


def square_attack(
    classifier: Classifier, x: Tensor, y: Tensor, epsilon: float, *, norm: float = math.inf, steps: int, seed: int = 0
) -> Tensor:
    """Return images of ART's Square attack (Andriushchenko et al. 2020, arXiv:1912.00049), which uses no gradient.

    An image that ART moves out of the ball is returned unchanged. Python's and NumPy's global generators are seeded for the
    attack and restored afterwards.
    """
    if epsilon == 0 or not len(x):
        return x.clone()
    estimator = make_art_estimator(classifier, tuple(x.shape[1:]))
    from art.attacks.evasion import SquareAttack

    attack = SquareAttack(
        estimator, norm=np.inf if norm == math.inf else norm, eps=epsilon, max_iter=steps, batch_size=ART_BATCH_SIZE, verbose=False
    )
    found = _generate(attack, classifier, x, y, seed)
    moved = torch.linalg.vector_norm((found - x).flatten(1), ord=norm, dim=1)
    inside = (moved <= epsilon * (1 + BALL_TOLERANCE) + BALL_TOLERANCE * BALL_TOLERANCE).view(-1, *[1] * (x.ndim - 1))
    return torch.where(inside, found, x)


def _has_one_range(classifier: Classifier) -> bool:
    bounds = check_bounds(classifier.bounds)
    return bounds.is_uniform and math.isfinite(bounds.width)


def supports_square_attack(classifier: Classifier, x: Tensor, norm: float) -> bool:
    """Return whether ART's Square attack supports the classifier, the bounds, and the size of the images."""
    if x.ndim != 4 or not _has_one_range(classifier):
        return False
    if isinstance(classifier, ArtClassifier):
        from art.estimators.estimator import NeuralNetworkMixin

        if not isinstance(classifier.estimator, NeuralNetworkMixin):
            return False
    height, width = x.shape[2:]
    largest = round(math.sqrt(SQUARE_INITIAL_SHARE * height * width))
    if norm == 2:  # five tiles in a row, each of three pixels at least; squares of an odd side
        return min(height, width) >= max(15, largest + 2)
    return min(height, width) > max(1, largest)


def _generate(attack: Any, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
    given = classifier.to_estimator_shape(x) if isinstance(classifier, ArtClassifier) else x
    with (
        float32_precision(x.device),
        preserve_generators([x.device]),
        preserve_estimator(classifier.estimator) if isinstance(classifier, ArtClassifier) else nullcontext(),  # the caller's own
        np.errstate(all="ignore"),  # Square divides by the norm of squares that may be 0
    ):
        seed_generators(seed)
        found = torch.from_numpy(attack.generate(given.contiguous().cpu().numpy(), y.cpu().numpy()))
    restored = classifier.from_estimator_shape(found, x) if isinstance(classifier, ArtClassifier) else found
    return restored.to(x)
