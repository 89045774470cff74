"""Run ART's stronger attacks, PGD and Square, to check FGSM's result."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.clip import clip, feature_tensor
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.feature_values import FeatureValues, map_values
from robustbench_fgsm.global_generators import preserve_generators, seed_generators
from robustbench_fgsm.models.art import ArtClassifier, to_art
from robustbench_fgsm.models.art_engine import preserve_estimator
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, has_convolutions
from robustbench_fgsm.spec import AttackSpec, Bounds, check_bounds
from robustbench_fgsm.surroundings import float32_precision

ART_BATCH_SIZE = 256
PGD_STEP_FACTOR = 2.5
"""Step size of PGD in units of epsilon / steps, so that the attack can cross the ball and return."""

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


def pgd(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    *,
    norm: float = math.inf,
    targeted: bool = False,
    steps: int,
    seed: int = 0,
) -> Tensor:
    """Return images of ART's projected gradient descent (Madry et al. 2018, arXiv:1706.06083), in the shape of x.

    Each step is 2.5 epsilon / steps, from a random start in the ball. ART draws from NumPy's global generator, which is seeded
    for the attack and restored afterwards.

    y: labels or targets (N,). norm: infinity or 2, where ART's projection is exact.
    """
    if epsilon == 0 or not len(x):
        return x.clone()
    estimator = make_art_estimator(classifier, tuple(x.shape[1:]))
    from art.attacks.evasion import ProjectedGradientDescent

    attack = ProjectedGradientDescent(
        estimator,
        norm=np.inf if norm == math.inf else norm,
        eps=epsilon,
        eps_step=PGD_STEP_FACTOR * epsilon / steps,
        max_iter=steps,
        targeted=targeted,
        num_random_init=1,
        batch_size=ART_BATCH_SIZE,
        verbose=False,
    )
    return _generate(attack, classifier, x, y, seed)


def scaled_pgd(
    classifier: Classifier, x: Tensor, y: Tensor, epsilon: float, spec: AttackSpec, *, steps: int, seed: int = 0
) -> Tensor:
    """Return images of PGD in the ball of an attack, whose norm divides each feature by the attack's epsilon scale.

    ART attacks the images divided by the scale, in which all features have one epsilon. See `pgd` for the rest.
    """
    run = partial(pgd, norm=spec.norm, targeted=spec.target.targeted, steps=steps, seed=seed)
    if spec.epsilon_scale is None:
        return run(classifier, x, y, epsilon)
    scale = feature_tensor(spec.epsilon_scale, x, "epsilon scale").expand(x.shape[1:])
    divisor = torch.where(scale > 0, scale, 1)
    crafted = run(_divide_inputs(classifier, spec.epsilon_scale), x / divisor, y, epsilon)
    return torch.where(scale > 0, clip(crafted * divisor, spec.bounds), x)


def _divide_inputs(classifier: Classifier, scale: FeatureValues) -> TorchClassifier:
    """Return the classifier of images divided by the scale; features of scale 0 are not divided, and have no gradient."""
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(
            f"PGD with an epsilon scale needs a PyTorch network, got {type(classifier).__name__}: leave out --pgd-check"
        )
    lower, upper = (map_values(lambda one, by: one / by if by else one, side, scale) for side in classifier.bounds)
    network = _ScaledInputs(classifier.copy_network(), scale)
    return TorchClassifier(network, classifier.num_classes, classifier.classes, Bounds(lower, upper), classifier.info)


class _ScaledInputs(nn.Module):
    """Network of images that were divided by a scale."""

    def __init__(self, network: nn.Module, scale: FeatureValues) -> None:
        super().__init__()
        self.network = network
        self.scale = scale

    def forward(self, x: Tensor) -> Any:
        """Return the outputs of the network."""
        scale = feature_tensor(self.scale, x, "epsilon scale")
        return self.network(torch.where(scale > 0, x * scale, x.detach()))


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
