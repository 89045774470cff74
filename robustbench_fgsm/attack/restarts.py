"""The best of several starts, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.fgsm import Ascent, Model, ascend
from robustbench_fgsm.attack.gradient import outputs_of, predicted
from robustbench_fgsm.attack.losses import Loss, get_loss
from robustbench_fgsm.attack.random_start import random_start


@dataclass(frozen=True)
class Attempt:
    """Adversarial images (N, ...), their outputs (N, K), whether each is fooled, and its loss, larger being worse for it."""

    x_adv: Tensor
    outputs: Tensor
    fooled: Tensor
    harm: Tensor


def attempt(
    model: Model, x_adv: Tensor, y: Tensor, *, targeted: bool, loss: str | Loss, stable: bool = False
) -> Attempt:
    """What a model makes of adversarial images; y: labels (N,), or targets."""
    outputs = outputs_of(model, x_adv)
    values = get_loss(loss, stable=stable)(outputs, y)
    return Attempt(x_adv, outputs, fooled(outputs, y, targeted=targeted), -values if targeted else values)


def fooled(outputs: Tensor, y: Tensor, *, targeted: bool) -> Tensor:
    """Images (N,) bool predicted as their target, or, untargeted, as anything but their label."""
    hit = predicted(outputs) == y
    return hit if targeted else ~hit


def better(best: Attempt, other: Attempt) -> Attempt:
    """Image by image the one that is fooled, of two such the one with the higher loss, of two equals the first."""
    wins = torch.where(other.fooled == best.fooled, other.harm > best.harm, other.fooled)
    shape = (-1, *[1] * (best.x_adv.ndim - 1))
    return Attempt(
        torch.where(wins.view(shape), other.x_adv, best.x_adv),
        torch.where(wins.unsqueeze(1), other.outputs, best.outputs),
        torch.where(wins, other.fooled, best.fooled),
        torch.where(wins, other.harm, best.harm),
    )


def best_of_restarts(
    model: Model,
    ascent: Ascent,
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
) -> Attempt:
    """The best attempt for each image out of the clean start, which is restart 0, and `restarts` random ones.

    ascent: the clean start. y: labels or targets (N,). ids: (N,), which with the seed fix every start. One backward pass
    for each restart.
    """
    x, norm, bounds = ascent.x, ascent.norm, ascent.bounds
    best = attempt(model, ascent.at(epsilon), y, targeted=targeted, loss=loss, stable=stable)
    for restart in range(1, restarts + 1):
        start = random_start(x, ids, epsilon, norm=norm, bounds=bounds, mask=mask, seed=seed, restart=restart)
        again = ascend(
            model, x, y, norm=norm, targeted=targeted, bounds=bounds, mask=mask, loss=loss, start=start, stable=stable
        )
        best = better(best, attempt(model, again.at(epsilon), y, targeted=targeted, loss=loss, stable=stable))
    return best
