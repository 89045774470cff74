"""Wrong PGD: the ball is around the last iterate, so that the budget grows with the steps."""

import torch
from torch import Tensor, nn


def pgd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Return images that are up to 2.5 epsilon away."""
    x_adv = x.clone()
    for _ in range(10):
        leaf = x_adv.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)
        moved = x_adv + 0.25 * epsilon * gradient.sign()
        x_adv = (x_adv + (moved - x_adv).clamp(-epsilon, epsilon)).clamp(0, 1)
    return x_adv
