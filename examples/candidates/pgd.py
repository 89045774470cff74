"""PGD with a random start, 10 steps of 2/255: rfgsm verify FILE:pgd --method pgd --step-size 2/255 --random-start."""

import torch
from torch import Tensor, nn


def pgd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Return adversarial images in [0, 1]."""
    x_adv = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
    for _ in range(10):
        x_adv = x_adv.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x_adv), y, reduction="sum"), x_adv)
        moved = x_adv.detach() + 2 / 255 * gradient.sign()
        x_adv = (x + (moved - x).clamp(-epsilon, epsilon)).clamp(0, 1)
    return x_adv
