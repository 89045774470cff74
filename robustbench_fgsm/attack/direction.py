"""The direction of norm 1 that climbs fastest, for any norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def steepest_direction(grad: Tensor, norm: float) -> Tensor:
    """Direction of norm 1 that increases the loss fastest, one per image.

    grad: (N, ...) gradient of the summed loss. Returns the same shape; zero where an image's gradient is zero or not
    finite. The maximiser of <d, grad> over ||d||_p <= 1 (Goodfellow et al. 2015, arXiv:1412.6572, for p = inf; Hoelder's
    inequality for the rest; for p = 1 the first of the largest coordinates). Scale-free: each image is divided by its
    largest magnitude before any power is taken, so neither underflow nor overflow silences it.
    """
    if grad.numel() == 0:
        return torch.zeros_like(grad)
    flat = grad.flatten(1)
    finite = flat.isfinite().all(1, keepdim=True)
    if norm == math.inf:
        direction = flat.sign()
    elif norm == 1:
        largest = flat.abs().argmax(1, keepdim=True)
        direction = torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign())
    else:
        dual = norm / (norm - 1)
        magnitude = flat.abs().double()  # powers and their sum in float32 are off by 1e-6 of a large step
        peak = magnitude.amax(1, keepdim=True)
        scaled = magnitude / torch.where(peak > 0, peak, 1)
        length = scaled.pow(dual).sum(1, keepdim=True).pow(1 / dual)
        direction = flat.sign() * (scaled / torch.where(peak > 0, length, 1)).pow(dual - 1).to(flat.dtype)
    return torch.where(finite, direction, 0).view_as(grad)
