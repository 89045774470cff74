"""The direction of norm 1 that climbs fastest, for any norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def steepest_direction(grad: Tensor, norm: float, max_magnitude: Tensor | None = None) -> Tensor:
    """Direction of norm 1 that increases the loss fastest, one per image.

    grad: (N, ...) gradient of the summed loss; peak: its `largest_magnitude`, where that is known. Returns the same
    shape; zero where an image's gradient is zero or not finite. The maximiser of <d, grad> over ||d||_p <= 1 (Goodfellow
    et al. 2015, arXiv:1412.6572, for p = inf; Hoelder's inequality for the rest; for p = 1 the first of the largest
    coordinates). Scale-free: each image is divided by its largest magnitude before any power is taken, so neither
    underflow nor overflow silences it.
    """
    if grad.numel() == 0:
        return torch.zeros_like(grad)
    max_magnitude = largest_magnitude(grad) if max_magnitude is None else max_magnitude
    finite = max_magnitude.isfinite()
    direction = grad.sign() if norm == math.inf else _finite_norm_direction(grad.flatten(1), norm, max_magnitude).view_as(grad)
    if grad.device.type == "cpu" and bool(finite.all()):  # elsewhere to ask is to wait
        return direction
    return torch.where(finite.view(-1, *[1] * (grad.ndim - 1)), direction, 0)


def largest_magnitude(grad: Tensor) -> Tensor:
    """The largest magnitude (N,) in each image's gradient (N, ...): 0 for a zero one, NaN or infinity where it is not finite."""
    if grad.numel() == 0:
        return grad.new_zeros(len(grad))
    peak: Tensor = torch.linalg.vector_norm(grad, math.inf, dim=tuple(range(1, grad.ndim)))
    return peak


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
