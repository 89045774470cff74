"""A step of size epsilon along a direction, kept within the bounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import Bounds, check_epsilon

Epsilon = float | Tensor
"""A scalar, one budget an image (N,), or anything that broadcasts to the images."""

PixelwiseBounds = Bounds | tuple[Tensor, Tensor]
"""The bounds of all pixels, or tensors that broadcast to the images with the bounds of each."""


def broadcast_epsilon(epsilon: Epsilon, x: Tensor, norm: float, bounds: Bounds | None) -> Tensor:
    """Budget in the dtype of x, shaped so that it broadcasts to x; (N,) becomes (N, 1, ...), never the width.

    Raises SettingError where it does not broadcast, is negative or not finite, exceeds the bounds under L-infinity, or
    varies within an image under another norm, whose ball would then be a different one.
    """
    if not isinstance(epsilon, Tensor):
        check_epsilon(epsilon, norm, bounds)
        return torch.full((), epsilon, dtype=x.dtype, device=x.device)  # as_tensor would wait for a GPU
    budget = epsilon.to(x.device, x.dtype).detach()
    for extreme in budget.aminmax() if budget.numel() else ():
        check_epsilon(float(extreme), norm, bounds)
    if budget.ndim == 1 and len(budget) in (1, len(x)):
        budget = budget.view(-1, *[1] * (x.ndim - 1))
    elif budget.ndim == 1:
        raise SettingError(
            f"epsilon must be a scalar, one per image ({len(x)},) or broadcast to {tuple(x.shape)}, "
            f"got {tuple(budget.shape)}: reshape it to (1, ..., {len(budget)}) if it is meant along the last axis"
        )
    elif not can_broadcast(budget.shape, x.shape):
        raise SettingError(f"epsilon must broadcast to the images {tuple(x.shape)}, got {tuple(budget.shape)}")
    if norm != math.inf and any(size > 1 for size in budget.shape[-(x.ndim - 1) :]):
        raise SettingError(
            f"epsilon must be the same all over an image under norm {norm:g}, got {tuple(budget.shape)}: "
            "only norm inf takes one budget per pixel"
        )
    return budget


def can_broadcast(shape: torch.Size, to: torch.Size) -> bool:
    """Whether a tensor of that shape broadcasts to the other shape without enlarging it."""
    return len(shape) <= len(to) and all(size in (1, of) for size, of in zip(reversed(shape), reversed(to), strict=False))


def step(
    x: Tensor, direction: Tensor, epsilon: Tensor, norm: float, bounds: PixelwiseBounds | None, start: Tensor | None = None
) -> Tensor:
    """The images moved by epsilon along the direction, within bounds and within epsilon of x.

    x, direction: (N, ...); epsilon as `broadcast_epsilon` gives it; start: (N, ...) where the step begins, x itself by
    default. Clipped to the bounds first and to the budget last, as ART does: the same bits under L-infinity. For the
    other norms clipping can only shorten a step from x, and a step from elsewhere is scaled back into the ball.
    """
    moved = _clip_(torch.mul(direction, epsilon).add_(x if start is None else start), bounds)
    if norm != math.inf and start is None:
        return moved
    return _clip_(project(moved.sub_(x), epsilon, norm).add_(x), bounds)  # the last addition may round past a bound


def project(offset: Tensor, epsilon: Tensor, norm: float) -> Tensor:
    """The offset (N, ...) cut to the budget under L-infinity, scaled down to it under any other norm."""
    if norm == math.inf or offset.numel() == 0:
        return offset.clamp(*_symmetric_bounds(epsilon))
    flat = offset.flatten(1)
    peak = flat.abs().amax(1, keepdim=True)
    length = peak * (flat / torch.where(peak > 0, peak, 1)).abs().pow(norm).sum(1, keepdim=True).pow(1 / norm)
    shape = (-1, *[1] * (offset.ndim - 1))
    return offset * (epsilon / torch.where(length > 0, length, 1).view(shape)).clamp(max=1)


def clip(x: Tensor, bounds: PixelwiseBounds | None) -> Tensor:
    """The images within bounds."""
    return x if bounds is None else x.clamp(*bounds)


def _symmetric_bounds(epsilon: Tensor) -> PixelwiseBounds:
    """Minus epsilon and epsilon, as numbers where that is one on the CPU: clamping to tensors takes longer."""
    if epsilon.ndim == 0 and epsilon.device.type == "cpu":
        return -float(epsilon), float(epsilon)
    return -epsilon, epsilon


def _clip_(x: Tensor, bounds: PixelwiseBounds | None) -> Tensor:
    """The same in place."""
    return x if bounds is None else x.clamp_(*bounds)
