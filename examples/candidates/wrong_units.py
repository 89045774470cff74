"""A wrong FGSM: it steps by epsilon on normalised images, so pixels move by epsilon * std only.

rfgsm compare --model smallcnn --candidate examples/candidates/wrong_units.py:fgsm --style normalised

If std is 1, as in mlp300, the mistake does not show.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fgsm(network: nn.Module, x: Tensor, y: Tensor, epsilon: float, mean: Tensor, std: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(network(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    moved = x.detach() + epsilon * gradient.sign()  # wrong: must be epsilon / std
    return torch.clamp(moved, (0 - mean) / std, (1 - mean) / std)
