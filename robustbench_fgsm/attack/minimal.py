"""The smallest budget on a grid that fools each image, along the one direction of the fast gradient method."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.fgsm import Model, check_batch, check_mask, compute_gradient_step
from robustbench_fgsm.attack.gradient import predict_outputs, predicted_classes
from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.attack.restarts import is_fooled
from robustbench_fgsm.attack.step import broadcast_epsilon, step
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import DEFAULT_EPSILON, PIXEL_BOUNDS, Bounds, parse_norm

GRID_ROUNDING_FACTOR = 1 + 1e-12
"""Relative excess that a division may owe to rounding: 0.3 / 0.1 is a little below 3."""


@dataclass(frozen=True)
class Minimal:
    """epsilon: (N,) float64, NaN for images that no budget of the grid fools; x_adv: (N, ...), those images as they came."""

    epsilon: Tensor
    x_adv: Tensor


def budget_grid(epsilon: float, epsilon_step: float) -> list[float]:
    """0, step, 2 step, ... up to epsilon: multiplied, not added up, so that 3 x 0.1 <= 0.3 is on the grid."""
    if not (epsilon_step > 0 and math.isfinite(epsilon_step)):
        raise SettingError(f"epsilon step must be a finite number > 0, got {epsilon_step:g}")
    return [min(k * epsilon_step, epsilon) for k in range(math.floor(epsilon / epsilon_step * GRID_ROUNDING_FACTOR) + 1)]


def minimal_epsilon(
    model: Model,
    x: Tensor,
    y: Tensor | None = None,
    epsilon: float = DEFAULT_EPSILON,
    *,
    epsilon_step: float = 1 / 255,
    norm: str | float = "inf",
    targeted: bool = False,
    bounds: Bounds | None = PIXEL_BOUNDS,
    mask: Tensor | None = None,
    loss: str | Loss = "ce",
    stable: bool = False,
    bisections: int = 0,
) -> Minimal:
    """The first budget of the grid k * epsilon_step <= epsilon, k = 0 included, at which each image is fooled.

    Arguments as for `fgsm`. Success is not monotone in the budget, so the grid is scanned from below; an image fooled is
    not looked at again, which saves forward passes and changes nothing. bisections: halvings of the first successful
    interval, which keep its upper end fooled. The result is the first crossing along this direction: an upper bound of
    the distance to the nearest adversarial image, and right-censored at epsilon.
    """
    x, order = x.detach(), parse_norm(norm)
    check_batch(x, y, targeted=targeted, bounds=bounds)
    check_mask(mask, x)
    broadcast_epsilon(epsilon, x, order, bounds)
    grid = budget_grid(epsilon, epsilon_step)
    ascent = compute_gradient_step(model, x, y, norm=order, targeted=targeted, bounds=bounds, mask=mask, loss=loss, stable=stable)
    aim = predicted_classes(ascent.outputs) if y is None else y

    def fools(rows: Tensor, budgets: Tensor) -> Tensor:
        """Which of the images in rows (R,) the budgets (R,) fool."""
        x_adv = step(x[rows], ascent.direction[rows], broadcast_epsilon(budgets, x[rows], order, bounds), order, bounds)
        return is_fooled(predict_outputs(model, x_adv), aim[rows], targeted=targeted)

    found = torch.full((len(x),), math.nan, dtype=torch.float64, device=x.device)
    found[is_fooled(ascent.outputs, aim, targeted=targeted)] = 0.0
    left = found.isnan().nonzero().squeeze(1)
    for budget in grid[1:]:
        if not len(left):
            break
        hit = fools(left, torch.full((len(left),), budget, dtype=x.dtype, device=x.device))
        found[left[hit]] = budget
        left = left[~hit]
    crossed = (found > 0).nonzero().squeeze(1)
    low, high = (found[crossed] - epsilon_step).clamp_min(0), found[crossed]
    for _ in range(bisections if len(crossed) else 0):
        middle = (low + high) / 2
        hit = fools(crossed, middle.to(x.dtype))
        low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
    found[crossed] = high
    return Minimal(found, ascent.perturb(found.nan_to_num(0).to(x.dtype)))
