"""Clip images to the pixel bounds, and project offsets into the ball of radius epsilon."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_fgsm.attack.direction import expand_per_image
from robustbench_fgsm.spec import Bounds

PixelwiseBounds = Bounds | tuple[Tensor, Tensor]
"""Bounds of all pixels, or two tensors that broadcast to the images."""


def uniform_bounds(bounds: PixelwiseBounds | None) -> Bounds | None:
    """Return the bounds as two numbers: of bounds by pixel, 0 and the largest distance of low and high."""
    if bounds is None or not isinstance(bounds[0], Tensor):
        return bounds
    return 0.0, float((bounds[1] - bounds[0]).max())


def rows_of_bounds(bounds: PixelwiseBounds | None, rows: Tensor, ndim: int) -> PixelwiseBounds | None:
    """Return the bounds of some images: rows, indices (R,) among images of so many axes."""
    if bounds is None or not isinstance(bounds[0], Tensor):
        return bounds
    low, high = (side[rows] if side.ndim == ndim and len(side) > 1 else side for side in bounds)
    return low, high


def project(offset: Tensor, epsilon: Tensor, norm: float) -> Tensor:
    """Return the offset (N, ...) clipped to the budget under L-infinity, or scaled into the ball under another norm."""
    if norm == math.inf or offset.numel() == 0:
        return offset.clamp(*_symmetric_bounds(epsilon))
    flat = offset.flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    length = largest * (flat / torch.where(largest > 0, largest, 1)).abs().pow(norm).sum(1, keepdim=True).pow(1 / norm)
    return offset * (epsilon / expand_per_image(torch.where(length > 0, length, 1), offset)).clamp(max=1)


def clip(x: Tensor, bounds: PixelwiseBounds | None) -> Tensor:
    """Return the images clipped to the bounds."""
    return x if bounds is None else x.clamp(*bounds)


def _symmetric_bounds(epsilon: Tensor) -> PixelwiseBounds:
    """Return -epsilon and epsilon, as numbers for a scalar on the CPU: clamping to tensors takes longer."""
    if epsilon.ndim == 0 and epsilon.device.type == "cpu":
        limit = float(epsilon)
        return -limit, limit
    return -epsilon, epsilon


def clip_in_place(x: Tensor, bounds: PixelwiseBounds | None) -> Tensor:
    """Clip the images to the bounds in place, and return them."""
    return x if bounds is None else x.clamp_(*bounds)
