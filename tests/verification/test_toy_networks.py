"""Every toy network has the gradient that its case needs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.verification.cases import random_images
from robustbench_fgsm.verification.toy_networks import (
    NUM_CLASSES,
    InfiniteGradientAtZero,
    convolutional,
    cropped_convolutional,
    faint_linear,
    scale_logits,
    two_layer_mlp,
)


def first_weight(model: nn.Module) -> nn.Parameter:
    return next(model.parameters())


def input_gradient(network: nn.Module, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf)[:, 0].sum(), leaf)
    return gradient


def test_no_gradient_at_a_crops_border() -> None:
    gradient = input_gradient(cropped_convolutional(3, 0), random_images(3, 0))
    inner = gradient[..., 1:-1, 1:-1]
    assert bool((inner != 0).any())
    assert int((gradient != 0).sum()) == int((inner != 0).sum())


def test_faint_network_has_subnormal_gradients() -> None:
    gradient = input_gradient(faint_linear(1, 0), random_images(1, 0)).abs()
    assert 0 < float(gradient.min()) <= float(gradient.max()) < torch.finfo(torch.float32).tiny


def test_infinite_gradient_at_a_black_image() -> None:
    network = InfiniteGradientAtZero(two_layer_mlp(1, 0))
    x = random_images(1, 0)
    x[3] = 0
    finite = input_gradient(network, x).flatten(1).isfinite().all(1)
    assert finite.tolist() == [k != 3 for k in range(len(x))]


def test_logits_have_the_wanted_spread() -> None:
    images = random_images(3, 0, n=64)
    logits = scale_logits(convolutional(3, 0), images, 2.5)(images).detach()
    assert float(logits.std()) == pytest.approx(2.5, rel=0.05)
    assert logits.mean(0).tolist() == pytest.approx([0.0] * NUM_CLASSES, abs=1e-5)


def test_a_seed_gives_one_network() -> None:
    one, other = (convolutional(3, 7, batch_norm=True).state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
