"""The steepest direction, against arithmetic done by hand and against the definition of a maximiser."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustbench_fgsm.attack.direction import scaled_direction, steepest_direction

NORMS = [math.inf, 1.0, 2.0, 1.5, 3.0, 1.001, 100.0]


def p_norm(x: Tensor, norm: float) -> Tensor:
    flat = x.flatten(1)
    peak = flat.abs().amax(1)  # a power of 1001 overflows even float64
    scaled: Tensor = torch.linalg.vector_norm(flat / peak[:, None], norm, dim=1)
    return peak * scaled


def test_linf_is_the_sign() -> None:
    grad = torch.tensor([[0.5, -2.0, 0.0]])
    assert torch.equal(steepest_direction(grad, math.inf), torch.tensor([[1.0, -1.0, 0.0]]))


def test_l1_moves_the_first_largest_coordinate() -> None:
    grad = torch.tensor([[1.0, -3.0, 3.0]])
    assert torch.equal(steepest_direction(grad, 1), torch.tensor([[0.0, -1.0, 0.0]]))


def test_l2_is_the_unit_gradient() -> None:
    grad = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    torch.testing.assert_close(steepest_direction(grad, 2), torch.tensor([[0.6, -0.8]], dtype=torch.float64))


def test_l3_by_hand() -> None:
    # q = 3/2: ||(4, 9)||_q = (8 + 27)^(2/3); the direction is (g / ||g||_q)^(1/2) = (2, 3) / 35^(1/3)
    grad = torch.tensor([[4.0, -9.0]], dtype=torch.float64)
    expected = torch.tensor([[2.0, -3.0]], dtype=torch.float64) / 35 ** (1 / 3)
    torch.testing.assert_close(steepest_direction(grad, 3), expected)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 2**32), exponent=st.integers(-300, 300))
def test_direction_is_maximal_at_any_scale(norm: float, seed: int, exponent: int) -> None:
    """Hoelder: <d, g> reaches ||g||_q, the most that any d of norm 1 can reach."""
    grad = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    dual = 1.0 if norm == math.inf else math.inf if norm == 1 else norm / (norm - 1)
    direction = steepest_direction(grad * 10.0**exponent, norm)
    torch.testing.assert_close(p_norm(direction, norm), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close((direction * grad).flatten(1).sum(1), p_norm(grad, dual))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-40, 1e-22, 1e-5, 1e30])
def test_float32_neither_underflows_nor_overflows(norm: float, scale: float) -> None:
    grad = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scaled = (grad * scale).float()
    exact = steepest_direction(scaled.double(), norm).float()
    assert torch.equal(steepest_direction(scaled, norm), exact)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_gradients_give_no_direction(norm: float, bad: float) -> None:
    grad = torch.ones(2, 3)
    grad[0, 1] = bad
    direction = steepest_direction(grad, norm)
    assert not direction[0].any()
    assert direction[1].any()


@pytest.mark.parametrize("norm", NORMS)
def test_zero_gradients_give_no_direction(norm: float) -> None:
    assert not steepest_direction(torch.zeros(2, 1, 3, 3), norm).any()


@pytest.mark.parametrize("norm", NORMS)
def test_no_images_give_no_directions(norm: float) -> None:
    assert steepest_direction(torch.zeros(0, 1, 3, 3), norm).shape == (0, 1, 3, 3)


@pytest.mark.parametrize("norm", NORMS)
def test_the_scaled_direction_is_the_steepest_one_of_images_divided_by_the_scale(norm: float) -> None:
    """With z = x / scale the gradient is scale * grad, the norm of z is the scaled norm of x, and x = scale * z."""
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(5, 2, 3, generator=generator)
    scale = torch.tensor([[1e-3], [4e3]])
    expected = steepest_direction(grad.double() * scale.double(), norm) * scale.double()
    torch.testing.assert_close(scaled_direction(grad, norm, scale), expected.float(), rtol=1e-5, atol=0)
    assert torch.allclose(p_norm(scaled_direction(grad, norm, scale).double() / scale, norm), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("norm", NORMS)
def test_a_feature_of_scale_0_does_not_move_and_small_gradients_keep_their_sign(norm: float) -> None:
    grad, scale = torch.tensor([[1e-44, -1e-44, 5.0]]), torch.tensor([1e-3, 1e-3, 0.0])
    direction = scaled_direction(grad, norm, scale)
    assert direction[0, 2] == 0
    assert direction[0, 0] > 0 >= direction[0, 1]
