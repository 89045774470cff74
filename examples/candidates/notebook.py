"""FGSM from a notebook, with two mistakes that `rfgsm verify` names.

rfgsm verify examples/candidates/notebook.py:fgsm
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  (usual in notebooks)
from torch import Tensor, nn


def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x.requires_grad = True
    loss = F.cross_entropy(torch.softmax(model(x), dim=1), y)
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return x + epsilon * x.grad.sign()
