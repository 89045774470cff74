"""Clip images to their bounds, and project offsets into the ball of radius epsilon; numbers per feature become tensors."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from robustbench_fgsm.attack.direction import expand_per_image
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.feature_values import FeatureValues, values_shape
from robustbench_fgsm.spec import AGREEMENT_TOLERANCE, Bounds

PixelwiseBounds = Bounds | tuple[Tensor, Tensor]
"""Bounds of all images, or two tensors that broadcast to the images."""

Limits = tuple[float, float] | tuple[Tensor, Tensor]


def uniform_bounds(bounds: PixelwiseBounds | None) -> Bounds | None:
    """Return the bounds as two numbers: of bounds that differ by feature, 0 and the largest distance of low and high."""
    if bounds is None or (isinstance(bounds, Bounds) and bounds.is_uniform):
        return bounds
    if isinstance(bounds, Bounds):
        return Bounds(0.0, bounds.width)
    return Bounds(0.0, float((bounds[1] - bounds[0]).max()))


def limits_of(bounds: PixelwiseBounds, x: Tensor) -> Limits:
    """Return low and high limit of images x (N, ...): two numbers, or two tensors that broadcast to the images."""
    if not isinstance(bounds, Bounds):
        return bounds
    low, high = bounds
    if isinstance(low, tuple) or isinstance(high, tuple):
        return feature_tensor(low, x, "bounds"), feature_tensor(high, x, "bounds")
    return low, high


def feature_tensor(values: FeatureValues, x: Tensor, name: str) -> Tensor:
    """Return the numbers of features as a tensor that broadcasts to images x (N, ...), in their dtype and on their device.

    A vector has one number for each channel, which is axis 1, as mean and std have; if it does not fit there, along the last axis.
    Raises SettingError if the numbers do not broadcast to one image, and for a vector that fits both axes.
    """
    return _feature_tensor(values, tuple(x.shape[1:]), x.dtype, x.device, name)


@lru_cache(maxsize=16)
def _feature_tensor(
    values: FeatureValues, image_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, name: str
) -> Tensor:
    shape, axes = values_shape(values), len(image_shape)
    if len(shape) == axes + 1 and shape[0] == 1:
        shape = shape[1:]
    by_channel = (*shape, *[1] * (axes - 1))
    by_last_axis = (*[1] * (axes - 1), *shape)
    if len(shape) == 1 < axes and shape[0] == image_shape[0] > 1:
        if shape[0] == image_shape[-1]:
            raise SettingError(
                f"{name} must be per channel or along the last axis of images {image_shape}, got {shape[0]} numbers, which fit "
                f"both: pass an array of shape {by_channel} or {by_last_axis}"
            )
        shape = by_channel
    fits = len(shape) <= axes and all(size in (1, of) for size, of in zip(reversed(shape), reversed(image_shape), strict=False))
    if not fits:
        remedy = f"pass one number for each of the {image_shape[0]} {'features' if axes == 1 else 'channels'}"
        raise SettingError(f"{name} must broadcast to one image {image_shape}, got numbers of shape {shape}: {remedy}")
    return torch.tensor(values, dtype=dtype, device=device).reshape(shape)


def pixel_tolerance(bounds: Bounds, x: Tensor) -> float | Tensor:
    """Return the distance above which two pixels of images like x (N, ...) differ: 1e-6, or 1e-6 of each feature's own range.

    In a feature far from 0 it is one unit in the last place of its bounds.
    """
    if bounds.is_uniform:
        return AGREEMENT_TOLERANCE
    low, high = (torch.as_tensor(side) for side in limits_of(bounds, x))
    unit = torch.maximum(low.abs(), high.abs()) * torch.finfo(torch.float32).eps
    found = torch.maximum((high - low) * AGREEMENT_TOLERANCE, unit)
    return torch.where(found.isfinite(), found, AGREEMENT_TOLERANCE)


def rows_of_bounds(bounds: PixelwiseBounds | None, rows: Tensor, ndim: int) -> PixelwiseBounds | None:
    """Return the bounds of some images: rows, indices (R,) among images of so many axes."""
    if bounds is None or not isinstance(bounds[0], Tensor):
        return bounds
    return rows_of(bounds[0], rows, ndim), rows_of(bounds[1], rows, ndim)


def rows_of(values: Tensor, rows: Tensor, ndim: int) -> Tensor:
    """Return values of some images: rows, indices (R,) among images of so many axes, to which the values broadcast."""
    return values[rows] if values.ndim == ndim and len(values) > 1 else values


def project(offset: Tensor, epsilon: Tensor, norm: float, scale: Tensor | None = None) -> Tensor:
    """Return the offset (N, ...) clipped to the budget under L-infinity, or scaled into the ball under another norm.

    Under L-infinity, the offset is clipped in place.

    scale: broadcasts to the offset, which the norm divides by it. None stands for 1. The offset is 0 if its scale is 0.
    """
    if norm == math.inf or offset.numel() == 0:
        return offset.clamp_(*_symmetric_bounds(epsilon if scale is None else epsilon * scale))
    flat = (offset if scale is None else torch.where(scale > 0, offset / scale, 0)).flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    length = largest * (flat / torch.where(largest > 0, largest, 1)).abs().pow(norm).sum(1, keepdim=True).pow(1 / norm)
    return offset * (epsilon / expand_per_image(torch.where(length > 0, length, 1), offset)).clamp(max=1)


def clip(x: Tensor, bounds: PixelwiseBounds | None) -> Tensor:
    """Return the images clipped to the bounds."""
    return x if bounds is None else x.clamp(*limits_of(bounds, x))


def _symmetric_bounds(epsilon: Tensor) -> Limits:
    """Return -epsilon and epsilon, as numbers for a scalar on the CPU: clamping to tensors takes longer."""
    if epsilon.ndim == 0 and epsilon.device.type == "cpu":
        limit = float(epsilon)
        return -limit, limit
    return -epsilon, epsilon


def clip_in_place(x: Tensor, bounds: PixelwiseBounds | None) -> Tensor:
    """Clip the images to the bounds in place, and return them."""
    return x if bounds is None else x.clamp_(*limits_of(bounds, x))
