"""The best of several starts, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.fgsm import GradientStep, Model, compute_gradient_step
from robustbench_fgsm.attack.gradient import predict_outputs, predicted_classes
from robustbench_fgsm.attack.losses import Loss, get_loss
from robustbench_fgsm.attack.random_start import random_start


@dataclass(frozen=True)
class Restart:
    """Adversarial images (N, ...), their outputs (N, K), whether each is fooled, and its loss, larger being worse for it."""

    x_adv: Tensor
    outputs: Tensor
    fooled: Tensor
    loss: Tensor


def evaluate_restart(model: Model, x_adv: Tensor, y: Tensor, *, targeted: bool, loss: str | Loss, stable: bool = False) -> Restart:
    """What a model makes of adversarial images; y: labels (N,), or targets."""
    outputs = predict_outputs(model, x_adv)
    values = get_loss(loss, stable=stable)(outputs, y)
    return Restart(x_adv, outputs, is_fooled(outputs, y, targeted=targeted), -values if targeted else values)


def is_fooled(outputs: Tensor, y: Tensor, *, targeted: bool) -> Tensor:
    """Images (N,) bool predicted as their target, or, untargeted, as anything but their label."""
    hit = predicted_classes(outputs) == y
    return hit if targeted else ~hit


def merge_restarts(best: Restart, other: Restart) -> Restart:
    """Image by image the one that is fooled, of two such the one with the higher loss, of two equals the first."""
    wins = torch.where(other.fooled == best.fooled, other.loss > best.loss, other.fooled)
    shape = (-1, *[1] * (best.x_adv.ndim - 1))
    return Restart(
        torch.where(wins.view(shape), other.x_adv, best.x_adv),
        torch.where(wins.unsqueeze(1), other.outputs, best.outputs),
        torch.where(wins, other.fooled, best.fooled),
        torch.where(wins, other.loss, best.loss),
    )


def best_of_restarts(
    model: Model,
    gradient_step: GradientStep,
    y: Tensor,
    ids: Tensor,
    epsilon: float,
    *,
    restarts: int,
    seed: int,
    targeted: bool = False,
    mask: Tensor | None = None,
    loss: str | Loss = "ce",
    stable: bool = False,
) -> Restart:
    """The best attempt for each image out of the clean start, which is restart 0, and `restarts` random ones.

    ascent: the clean start. y: labels or targets (N,). ids: (N,), which with the seed fix every start. One backward pass
    for each restart.
    """
    x, norm, bounds = gradient_step.x, gradient_step.norm, gradient_step.bounds
    best = evaluate_restart(model, gradient_step.perturb(epsilon), y, targeted=targeted, loss=loss, stable=stable)
    for restart in range(1, restarts + 1):
        start = random_start(x, ids, epsilon, norm=norm, bounds=bounds, mask=mask, seed=seed, restart=restart)
        again = compute_gradient_step(
            model, x, y, norm=norm, targeted=targeted, bounds=bounds, mask=mask, loss=loss, start=start, stable=stable
        )
        best = merge_restarts(best, evaluate_restart(model, again.perturb(epsilon), y, targeted=targeted, loss=loss, stable=stable))
    return best
