"""Smallest budget of a grid that fools each image, along the direction of the fast gradient method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import rows_of, rows_of_bounds
from robustbench_fgsm.attack.fgsm import (
    GradientStep,
    Model,
    StepSettings,
    check_attacked_outputs,
    compute_gradient_step,
    nonfinite_warnings,
    prepare_attack,
)
from robustbench_fgsm.attack.gradient import NO_CLASS, predict_outputs, predicted_classes
from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.attack.outputs import read_for_loss
from robustbench_fgsm.attack.restarts import is_fooled
from robustbench_fgsm.attack.step import broadcast_epsilon, step
from robustbench_fgsm.errors import SettingError, warn_user
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import DEFAULT_EPSILON, PIXEL_BOUNDS, check_integer, parse_norm

GRID_ROUNDING_FACTOR = 1 + 1e-12
"""Relative tolerance for the rounding of a division: 0.3 / 0.1 is a little below 3."""


@dataclass(frozen=True)
class Minimal:
    """Smallest budgets that fool images.

    Args:
        epsilon: (N,) float64 budgets; NaN if no budget of the grid fools the image.
        x_adv: (N, ...) adversarial images; the clean image if no budget fools it.
    """

    epsilon: Tensor
    x_adv: Tensor

    __repr__ = short_repr


def budget_grid(epsilon: float, epsilon_step: float) -> list[float]:
    """Return 0, step, 2 step, ... up to epsilon, as products, not as sums, so that 3 x 0.1 <= 0.3 is on the grid."""
    is_number = isinstance(epsilon_step, (int, float, np.number)) and not isinstance(epsilon_step, bool)
    if not (is_number and epsilon_step > 0 and math.isfinite(epsilon_step)):
        raise SettingError(f"epsilon step must be a finite number > 0, got {epsilon_step!r:.40}: try 1 / 255")
    return [min(k * epsilon_step, epsilon) for k in range(math.floor(epsilon / epsilon_step * GRID_ROUNDING_FACTOR) + 1)]


@neutral_settings()
def minimal_epsilon(
    model: Model,
    x: Tensor,
    y: Tensor | None = None,
    epsilon: float = DEFAULT_EPSILON,
    *,
    epsilon_step: float = 1 / 255,
    norm: str | float = "inf",
    epsilon_scale: str | FeatureArray | None = None,
    targeted: bool = False,
    bounds: Any = PIXEL_BOUNDS,
    mask: Tensor | None = None,
    loss: str | Loss = "ce",
    stable: bool = False,
    bisections: int = 0,
) -> Minimal:
    """Return the first budget of the grid k * epsilon_step <= epsilon, k >= 0, at which each image is fooled.

    Success is not monotone in the budget, so the grid is scanned from below, and a fooled image is not evaluated again. The
    result is the first crossing along one direction: an upper bound of the distance to the nearest adversarial image,
    right-censored at epsilon. An image whose outputs are not finite is not fooled; a RuntimeWarning counts these images.

    Args:
        model: as in `fgsm`.
        x: (N, ...) float images within the bounds.
        y: (N,) int64 labels, targets if `targeted`, or None for the model's own predictions.
        epsilon: largest budget, in the units of x.
        epsilon_step: distance of the budgets of the grid, > 0, in the units of x.
        norm: `inf`, or the order p >= 1.
        epsilon_scale: as in `fgsm`.
        targeted: move towards the targets y.
        bounds: low and high limit of the adversarial images; None for no limits.
        mask: as in `fgsm`.
        loss: as in `fgsm`.
        stable: compute the direction of `ce` without cancellation on saturated images.
        bisections: halvings of the interval below the first successful budget, >= 0; its upper end stays successful.

    Returns:
        `Minimal` with one budget and one adversarial image per image.

    Raises:
        SettingError: as `fgsm`, or epsilon_step is not finite and positive.
        DataError: as `fgsm`.

    Source:
        The direction of Goodfellow et al. 2015, arXiv:1412.6572, section 4, at every budget of the grid.
    """
    model = read_for_loss(model, loss)
    found = prepare_attack(model, x, y, StepSettings(parse_norm(norm), targeted, bounds, mask, loss, stable, epsilon_scale))
    x, y, settings = found.x, found.y, found.settings
    (budget,) = found.check_budgets([epsilon])
    if isinstance(budget, Tensor):
        raise SettingError(f"epsilon must be one number, the largest budget, got {tuple(budget.shape)}: pass a number")
    grid, bisections = budget_grid(budget, epsilon_step), check_integer("bisections", bisections)
    gradient_step = compute_gradient_step(model, x, found.labels, settings)
    check_attacked_outputs(model, gradient_step)
    for text in nonfinite_warnings(gradient_step):
        warn_user(text)
    outputs = predict_outputs(model, x) if callable(loss) else gradient_step.outputs
    labels = predicted_classes(outputs) if y is None else y

    smallest, lost_class = search_budgets(
        gradient_step, outputs, labels, lambda images: predict_outputs(model, images, settings.reader), grid[1:], bisections
    )
    if count := int(lost_class.sum()):
        text = f"{count:,} of {len(x):,} images have outputs that are not finite at some budget, which is then no success"
        warn_user(text)
    return Minimal(smallest, gradient_step.perturb(smallest.nan_to_num(0).to(x.dtype)))


def search_budgets(
    gradient_step: GradientStep,
    outputs: Tensor,
    labels: Tensor,
    predict: Callable[[Tensor], Tensor],
    grid: Sequence[float],
    bisections: int,
) -> tuple[Tensor, Tensor]:
    """Return the smallest tried budget (N,) float64 that fools each image: 0 if it is wrong already, NaN if no budget fools it.

    The second tensor (N,) bool marks images that have a prediction at first, and outputs that are not finite at a tried budget.

    Args:
        gradient_step: images and their directions.
        outputs: (N, K) outputs of the images.
        labels: (N,) labels, or targets of a targeted attack.
        predict: function from images to outputs.
        grid: ascending budgets > 0, which are tried until one fools the image.
        bisections: halvings of the interval below the first budget of the grid that fools the image.
    """
    x, settings = gradient_step.x, gradient_step.settings
    lost_class = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def is_fooled_at(rows: Tensor, budgets: Tensor) -> Tensor:
        """Return (R,) bool: True if the budgets (R,) fool the images in these rows (R,)."""
        limits, scale = rows_of_bounds(settings.bounds, rows, x.ndim), settings.epsilon_scale
        scale = None if scale is None else rows_of(scale, rows, x.ndim)
        budgets = broadcast_epsilon(budgets, x[rows], settings.norm, None)
        outputs_adv = predict(step(x[rows], gradient_step.direction[rows], budgets, settings.norm, limits, scale=scale))
        lost_class[rows] |= predicted_classes(outputs_adv) == NO_CLASS
        return is_fooled(outputs_adv, labels[rows], targeted=settings.targeted)

    high = torch.full((len(x),), math.nan, dtype=torch.float64, device=x.device)
    high[is_fooled(outputs, labels, targeted=settings.targeted)] = 0.0
    low = torch.zeros_like(high)
    remaining, below = high.isnan().nonzero().squeeze(1), 0.0
    for budget in grid:
        if not len(remaining):
            break
        fooled = is_fooled_at(remaining, torch.full((len(remaining),), budget, dtype=x.dtype, device=x.device))
        low[remaining[fooled]], high[remaining[fooled]] = below, budget
        remaining, below = remaining[~fooled], budget
    crossed = (high > 0).nonzero().squeeze(1)
    for _ in range(bisections if len(crossed) else 0):
        middle = (low[crossed] + high[crossed]) / 2
        fooled = is_fooled_at(crossed, middle.to(x.dtype))
        low[crossed], high[crossed] = torch.where(fooled, low[crossed], middle), torch.where(fooled, middle, high[crossed])
    return high, lost_class & (predicted_classes(outputs) != NO_CLASS)
