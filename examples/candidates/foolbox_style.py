"""FGSM as an attack class in the style of Foolbox; untargeted, like Foolbox's FGSM.

rfgsm compare --model smallcnn --candidate examples/candidates/foolbox_style.py:FGSM --style foolbox
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class FGSM:
    def __call__(
        self, model: Callable[[Tensor], Tensor], inputs: Tensor, criterion: Tensor, *, epsilons: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return images before and after clipping, and success per image; criterion holds the labels."""
        x = inputs.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(x), criterion, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        raw = (x + epsilons * gradient.sign()).detach()
        clipped = raw.clamp(0, 1)
        with torch.no_grad():
            success = model(clipped).argmax(1) != criterion
        return raw, clipped, success
