"""FGSM over NumPy arrays with channels last.

rfgsm compare --model smallcnn --candidate examples/candidates/nhwc.py:fgsm --style nhwc
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def fgsm(
    model: nn.Module, x: NDArray[np.float32], y: NDArray[np.int64], epsilon: float, *, targeted: bool = False
) -> NDArray[np.float32]:
    device = next(model.parameters()).device
    images = torch.tensor(x.transpose(0, 3, 1, 2).copy(), device=device, requires_grad=True)
    loss = nn.functional.cross_entropy(model(images), torch.tensor(y, device=device), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    direction = np.sign(gradient.cpu().numpy().transpose(0, 2, 3, 1)) * (-1 if targeted else 1)
    moved: NDArray[np.float32] = np.clip(x + np.float32(epsilon) * direction, 0, 1)
    return moved
