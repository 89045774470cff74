"""A wrong FGSM: a budget of pixel space as a step on normalised images, so that it moves only epsilon * std.

rfgsm compare --model smallcnn --candidate examples/candidates/wrong_units.py:fgsm --style normalised

Where std is 1, as in mlp300, nobody would notice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fgsm(network: nn.Module, x: Tensor, y: Tensor, epsilon: float, mean: Tensor, std: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(network(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    moved = x.detach() + epsilon * gradient.sign()  # epsilon / std is meant
    return torch.clamp(moved, (0 - mean) / std, (1 - mean) / std)
