"""FGSM, untargeted and targeted.

rfgsm compare --model smallcnn --candidate examples/candidates/plain.py:fgsm
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, *, targeted: bool = False) -> Tensor:
    x = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    direction = -gradient.sign() if targeted else gradient.sign()
    return (x + epsilon * direction).clamp(0, 1).detach()
