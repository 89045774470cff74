"""Networks of the bench have the gradients that they say."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad as gradient_of
from torch.func import vmap

from robustbench_fgsm.verification.networks import (
    FixedGradientNetwork,
    InfiniteGradientAtZero,
    LinearLayer,
    SmallTransformer,
    build_seeded,
    convolutional,
    fixed_gradient,
    in_pixel_space,
    random_linear,
)

SHAPE = (3, 16, 16)


def test_a_fixed_gradient_lies_along_the_vector_and_leaves_the_logits() -> None:
    vector = torch.randn(SHAPE)
    network = fixed_gradient(vector, 4)
    x = torch.rand(2, *SHAPE, requires_grad=True)
    logits = network(x)
    assert torch.equal(logits[0], logits[1])
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), x)
    torch.testing.assert_close(gradient[0], network.coefficients[1].detach() * vector)


def test_a_fixed_gradient_works_under_vmap() -> None:
    vector = torch.randn(SHAPE)
    network = fixed_gradient(vector, 4)
    gradients = vmap(gradient_of(lambda image: network(image[None])[0, 0]))(torch.rand(3, *SHAPE))
    torch.testing.assert_close(gradients[2], network.coefficients[0].detach() * vector)


def test_no_label_has_a_gradient_of_zero() -> None:
    network = fixed_gradient(torch.ones(SHAPE), 10)
    x = torch.rand(10, *SHAPE, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(network(x), torch.arange(10), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    assert float(gradient[:, 0, 0, 0].abs().min()) > 0.1
    (gradient,) = torch.autograd.grad(network(x).sum(), x)
    assert float(gradient.abs().min()) > 0.1


def test_a_gradient_turns_at_its_distance() -> None:
    network = FixedGradientNetwork(torch.ones(1, 1, 2), torch.ones(1), torch.zeros(1), torch.tensor([[[0.1, 0.3]]]))
    x = torch.full((1, 1, 1, 2), 0.7, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x)
    assert gradient.flatten().tolist() == [-1.0, 1.0]


def test_linear_logits_and_unseen_columns() -> None:
    layer = random_linear(SHAPE, 5, 0, unseen_columns=4)
    assert isinstance(layer, LinearLayer)
    assert not bool(layer.weight[..., -4:].any())
    x = torch.full((1, *SHAPE), 0.5)
    assert torch.equal(layer(x)[0], layer.bias)


def test_the_infinite_gradient() -> None:
    network = InfiniteGradientAtZero(random_linear(SHAPE, 5, 0))
    x = torch.zeros(1, *SHAPE, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[:, 0].sum(), x)
    assert not bool(gradient.isfinite().any())


@pytest.mark.parametrize(
    "build", [lambda: convolutional(SHAPE, 4, batch_norm=True, dropout=0.4), lambda: SmallTransformer(SHAPE, 4)]
)
def test_seeded_networks_are_equal_and_leave_the_generator(build: object) -> None:
    state = torch.get_rng_state()
    one, other = (build_seeded(1, build) for _ in range(2))  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.rand(2, *SHAPE)
    assert torch.equal(one(x), other(x))
    assert in_pixel_space(one, 0.5, 0.25)(x).shape == (2, 4)
