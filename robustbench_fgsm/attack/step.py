"""A step of size epsilon along a direction, kept within the bounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import PixelwiseBounds, clip_in_place, project, uniform_bounds
from robustbench_fgsm.attack.direction import expand_per_image
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import check_epsilon

Epsilon = float | Tensor
"""A scalar, one budget per image (N,), or any tensor that broadcasts to the images."""


def broadcast_epsilon(epsilon: Epsilon, x: Tensor, norm: float, bounds: PixelwiseBounds | None) -> Tensor:
    """Return the budget in the dtype of x, in a shape that broadcasts to x: (N,) becomes (N, 1, ...), never the width.

    Raises SettingError if the budget does not broadcast, is negative or not finite, exceeds the bounds under L-infinity, or varies
    within an image under another norm.
    """
    limits = uniform_bounds(bounds)
    if not isinstance(epsilon, Tensor):
        check_epsilon(epsilon, norm, limits)
        return torch.full((), epsilon, dtype=x.dtype, device=x.device)  # as_tensor would wait for a GPU
    budget = epsilon.to(x.device, x.dtype).detach()
    for extreme in budget.aminmax() if budget.numel() else ():
        check_epsilon(float(extreme), norm, limits)
    if budget.ndim == 1 and len(budget) in (1, len(x)):
        budget = expand_per_image(budget, x)
    elif budget.ndim == 1:
        raise SettingError(
            f"epsilon must be a scalar, one per image ({len(x)},) or broadcast to {tuple(x.shape)}, "
            f"got {tuple(budget.shape)}{axis_hint(budget, x, 'epsilon')}"
        )
    elif not can_broadcast(budget.shape, x.shape):
        raise SettingError(
            f"epsilon must broadcast to the images {tuple(x.shape)}, got {tuple(budget.shape)}{axis_hint(budget, x, 'epsilon')}"
        )
    if norm != math.inf and any(size > 1 for size in budget.shape[-(x.ndim - 1) :]):
        raise SettingError(
            f"epsilon must be the same all over an image under norm {norm:g}, got {tuple(budget.shape)}: "
            "pass one epsilon per image, and numbers by feature to `fgsm` as epsilon_scale"
        )
    return budget


def can_broadcast(shape: torch.Size, to: torch.Size) -> bool:
    """Return True if a tensor of that shape broadcasts to the other shape without enlarging it."""
    return len(shape) <= len(to) and all(size in (1, of) for size, of in zip(reversed(shape), reversed(to), strict=False))


def axis_hint(value: Tensor, x: Tensor, name: str) -> str:
    """Return the remedy for a tensor that lacks axes of the images, as the end of a sentence."""
    trailing = ", 1" * (x.ndim - 2)
    if value.ndim == 1 and x.ndim > 2 and len(value) == x.shape[1]:
        return f": reshape {name} to ({len(value)}{trailing}) for one number per channel"
    if value.ndim == 1 and len(value) == len(x):
        return f": reshape {name} to ({len(value)}, 1{trailing}) for one number per image"
    if x.ndim > 2 and value.shape == (len(x), *x.shape[2:]):
        return f": pass {name}.reshape({len(x)}, 1, {', '.join(map(str, x.shape[2:]))})"
    if value.ndim == 1 and len(value) == x.shape[-1]:
        return f": reshape {name} to ({'1, ' * (x.ndim - 1)}{len(value)}) for one number per entry of the last axis"
    return f": pass a shape such as {(1, *x.shape[1:])}"


def apply_mask(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the values (N, ...), replaced by 0 if the mask is 0."""
    return values if mask is None else torch.where(mask == 0, 0, values)


def step(
    x: Tensor,
    direction: Tensor,
    epsilon: Tensor,
    norm: float,
    bounds: PixelwiseBounds | None,
    start: Tensor | None = None,
    scale: Tensor | None = None,
    step_size: Tensor | None = None,
) -> Tensor:
    """Return the images x (N, ...) moved by epsilon along the direction, within the bounds and within epsilon of x.

    The result is clipped to the bounds first and to the budget last, as in ART, so both give the same bits under L-infinity. Under
    other norms, clipping can only shorten a step from x, and a step from another start is scaled back into the ball. epsilon: as
    `broadcast_epsilon` returns it. start: (N, ...) images at which the step begins; None for x. scale:
    what the norm divides each feature by, which the direction contains; None for 1. step_size: distance of the step,
    which broadcasts to x; None for epsilon.
    """
    moved = clip_in_place(
        torch.mul(direction, epsilon if step_size is None else step_size).add_(x if start is None else start), bounds
    )
    if norm != math.inf and start is None and step_size is None:
        return moved
    return clip_in_place(project(moved.sub_(x), epsilon, norm, scale).add_(x), bounds)  # the last addition may round past a bound
