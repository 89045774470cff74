"""FGSM of PyTorch's tutorial, which takes the gradient as an argument.

rfgsm compare --model smallcnn --candidate examples/candidates/tutorial.py:fgsm_attack --style tutorial
"""

from __future__ import annotations

import torch
from torch import Tensor


def fgsm_attack(image: Tensor, epsilon: float, data_grad: Tensor) -> Tensor:
    perturbed_image = image + epsilon * data_grad.sign()
    return torch.clamp(perturbed_image, 0, 1)
