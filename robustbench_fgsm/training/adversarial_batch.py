"""Crafted images of one training step, for each method of adversarial training."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustbench_fgsm.attack.clip import clip
from robustbench_fgsm.spec import Bounds
from robustbench_fgsm.training.recipe import TrainingRecipe

FGSM_RS_STEP = 1.25
"""Step of FGSM-RS as a multiple of epsilon (Wong et al. 2020, arXiv:2001.03994, section 4.1)."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context of mixed precision; `auto` is bfloat16 on CUDA if the device supports it, else float32."""
    wanted = precision == "bfloat16"
    if precision == "auto":
        wanted = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def gradient_sign(network: nn.Module, x: Tensor, y: Tensor, recipe: TrainingRecipe) -> Tensor:
    """Return the sign of the loss gradient at images x (N, ...), in the recipe's craft mode. The network is left in train mode."""
    network.train(recipe.craft_mode == "train")
    x = x.detach().requires_grad_()
    with torch.enable_grad(), autocast(x.device, recipe.precision):
        loss = cross_entropy(network(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    network.train()
    return gradient.sign()


def craft_training_images(network: nn.Module, x: Tensor, y: Tensor, recipe: TrainingRecipe, bounds: Bounds) -> Tensor:
    """Return the images that `fgsm`, `fgsm-rs` or `n-fgsm` trains on, in the shape of x.

    Noise comes from PyTorch's global generator. If the recipe clamps and x lies within the bounds, the result does too. The
    distance to x is at most epsilon, for `n-fgsm` at most epsilon plus the noise.
    """
    limits = bounds if recipe.clamp else None
    if recipe.method == "fgsm":
        return clip(x + recipe.epsilon * gradient_sign(network, x, y, recipe), limits)
    half = recipe.epsilon * (recipe.noise if recipe.method == "n-fgsm" else 1.0)
    noisy = x + torch.empty_like(x).uniform_(-half, half)
    if recipe.method == "n-fgsm":  # equation 4 of the paper
        return clip(noisy + recipe.epsilon * gradient_sign(network, noisy, y, recipe), limits)
    noisy = clip(noisy, limits)
    offset = noisy - x + FGSM_RS_STEP * recipe.epsilon * gradient_sign(network, noisy, y, recipe)
    return clip(x + offset.clamp(-recipe.epsilon, recipe.epsilon), limits)
