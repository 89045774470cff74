"""Restarts: the best adversarial image out of several starts, chosen for each image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.direction import expand_per_image
from robustbench_fgsm.attack.fgsm import GradientStep, Model, StepSettings, compute_gradient_step
from robustbench_fgsm.attack.gradient import NO_CLASS, predict_outputs, predicted_classes
from robustbench_fgsm.attack.losses import cross_entropy


@dataclass(frozen=True)
class Restart:
    """Outcome of one start: adversarial images (N, ...), outputs (N, K), success (N,) bool, and objective (N,) of the attack."""

    x_adv: Tensor
    outputs: Tensor
    fooled: Tensor
    loss: Tensor


def evaluate_restart(model: Model, x_adv: Tensor, y: Tensor, settings: StepSettings) -> Restart:
    """Return the outcome of adversarial images on a model; y: labels (N,), or targets."""
    outputs = predict_outputs(model, x_adv, settings.reader)
    loss_function = settings.get_loss()
    loss = (getattr(model, "own_loss", cross_entropy) if loss_function is cross_entropy else loss_function)(outputs, y)
    loss = -loss if settings.targeted else loss
    loss = loss.where(predicted_classes(outputs) != NO_CLASS, math.inf)  # outputs that are not finite stay visible
    return Restart(x_adv, outputs, is_fooled(outputs, y, targeted=settings.targeted), loss)


def is_fooled(outputs: Tensor, y: Tensor, *, targeted: bool) -> Tensor:
    """Return (N,) bool: True if the prediction is the target or, in an untargeted attack, is a class other than the label.

    An image is not fooled if it or its label has `NO_CLASS`.
    """
    classes = predicted_classes(outputs)
    has_class = (classes != NO_CLASS) & (y != NO_CLASS)
    return has_class & ((classes == y) == targeted)


def merge_restarts(best: Restart, other: Restart) -> Restart:
    """Return per image the outcome that is fooled; of two fooled ones the higher loss; of equal losses the first."""
    wins = torch.where(other.fooled == best.fooled, other.loss > best.loss, other.fooled)
    return Restart(
        torch.where(expand_per_image(wins, best.x_adv), other.x_adv, best.x_adv),
        torch.where(wins.unsqueeze(1), other.outputs, best.outputs),
        torch.where(wins, other.fooled, best.fooled),
        torch.where(wins, other.loss, best.loss),
    )


def best_of_restarts(
    model: Model, gradient_step: GradientStep, y: Tensor, ids: Tensor, epsilon: float, *, restarts: int, seed: int
) -> Restart:
    """Return per image the best outcome of the clean start, which is restart 0, and of random starts.

    ids (N,) and the seed determine the random starts, of which each needs one backward pass. y: labels (N,), or targets.
    """
    x, settings = gradient_step.x, gradient_step.settings
    best = evaluate_restart(model, gradient_step.perturb(epsilon), y, settings)
    for restart in range(1, restarts + 1):
        start = settings.draw_start(x, ids, epsilon, seed=seed, restart=restart)
        again = compute_gradient_step(model, x, y, settings, start)
        best = merge_restarts(best, evaluate_restart(model, again.perturb(epsilon), y, settings))
    return best
