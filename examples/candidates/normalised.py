"""FGSM on normalised images: one step of epsilon / std, clipped to the normalised range of [0, 1].

rfgsm compare --model smallcnn --candidate examples/candidates/normalised.py:fgsm --style normalised
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fgsm(network: nn.Module, x: Tensor, y: Tensor, epsilon: float, mean: Tensor, std: Tensor, *, targeted: bool = False) -> Tensor:
    x = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(network(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    direction = -gradient.sign() if targeted else gradient.sign()
    moved = x.detach() + epsilon / std * direction
    return torch.clamp(moved, (0 - mean) / std, (1 - mean) / std)
