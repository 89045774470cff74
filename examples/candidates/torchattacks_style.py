"""FGSM as an attack class in the style of torchattacks.

rfgsm compare --model smallcnn --candidate examples/candidates/torchattacks_style.py:FGSM --style torchattacks
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FGSM:
    def __init__(self, model: nn.Module, eps: float = 8 / 255) -> None:
        self.model = model
        self.eps = eps
        self.sign = 1

    def set_mode_targeted_by_label(self) -> None:
        """Treat labels as targets from now on."""
        self.sign = -1

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return adversarial images (N, C, H, W)."""
        images = images.clone().detach().requires_grad_()
        cost = nn.CrossEntropyLoss()(self.model(images), labels)
        (gradient,) = torch.autograd.grad(cost, images)
        return torch.clamp(images + self.sign * self.eps * gradient.sign(), 0, 1).detach()
