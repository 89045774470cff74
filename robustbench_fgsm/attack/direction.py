"""Direction of norm 1 along which the loss grows fastest, for any norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def steepest_direction(grad: Tensor, norm: float, max_magnitude: Tensor | None = None) -> Tensor:
    """Return the direction of norm 1 along which the loss grows fastest, one per image.

    The maximiser of <d, grad> over ||d||_p <= 1: the sign for p = inf (Goodfellow et al. 2015, arXiv:1412.6572, eq. 3), the
    first of the largest coordinates for p = 1, and by Hoelder's inequality for the other norms. Each image is divided by its
    largest magnitude first, so the result does not depend on the scale of the gradient.

    Args:
        grad: (N, ...) gradient of the summed loss.
        norm: order p >= 1, `math.inf` for L-infinity.
        max_magnitude: (N,) `largest_magnitude(grad)`; None to compute it.

    Returns:
        Tensor of the shape of `grad`; zero if an image's gradient is zero or not finite.
    """
    if grad.numel() == 0:
        return torch.zeros_like(grad)
    max_magnitude = largest_magnitude(grad) if max_magnitude is None else max_magnitude
    finite = max_magnitude < math.inf  # False for NaN, and faster than isfinite
    direction = grad.sign() if norm == math.inf else _finite_norm_direction(grad.flatten(1), norm, max_magnitude).view_as(grad)
    if grad.device.type == "cpu" and bool(finite.all()):  # on a GPU, reading the flag would wait for the computation
        return direction
    return torch.where(expand_per_image(finite, grad), direction, 0)


def scaled_direction(grad: Tensor, norm: float, scale: Tensor) -> Tensor:
    """Return the direction along which the loss grows fastest if the norm divides each feature by its scale.

    The maximiser of <d, grad> over ||d / scale||_p <= 1: with z = d / scale, the scale times the steepest direction of the
    gradient by z, which is scale * grad.

    Args:
        grad: (N, ...) gradient of the summed loss.
        norm: order p >= 1, `math.inf` for L-infinity.
        scale: numbers >= 0 that broadcast to the gradient. A feature of scale 0 does not move.

    Returns:
        Tensor of the shape of `grad`; zero if an image's gradient is zero or not finite.
    """
    if norm == math.inf:
        return steepest_direction(grad, norm) * scale
    return steepest_direction(grad.double() * scale.double(), norm).to(grad.dtype) * scale  # float32 may underflow


def largest_magnitude(grad: Tensor) -> Tensor:
    """Return the largest magnitude (N,) in each image's gradient (N, ...): NaN or infinity if the gradient is not finite."""
    if grad.numel() == 0:
        return grad.new_zeros(len(grad))
    return grad.abs().amax(tuple(range(1, grad.ndim)))  # in a tenth of the time of vector_norm


def expand_per_image(values: Tensor, images: Tensor) -> Tensor:
    """Return one value per image (N,) in the shape (N, 1, ...), which broadcasts to images (N, ...)."""
    return values.reshape(-1, *[1] * (images.ndim - 1))


def _finite_norm_direction(flat: Tensor, norm: float, max_magnitude: Tensor) -> Tensor:
    if norm == 1:
        largest = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign())
    dual = norm / (norm - 1)
    magnitude = flat.abs().double()  # powers and their sum in float32 are off by 1e-6 of a large step
    moves = (max_magnitude > 0).unsqueeze(1)
    scaled = magnitude / torch.where(moves, max_magnitude.unsqueeze(1), 1)
    length = scaled.pow(dual).sum(1, keepdim=True).pow(1 / dual)
    return flat.sign() * (scaled / torch.where(moves, length, 1)).pow(dual - 1).to(flat.dtype)
