"""Budgets that broadcast where they are meant to, and steps that stay where they must."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustbench_fgsm.attack.step import broadcast_epsilon, step
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

BOUNDS = PIXEL_BOUNDS


def test_a_scalar_serves_all_images() -> None:
    assert broadcast_epsilon(0.5, torch.zeros(4, 1, 4, 4), math.inf, BOUNDS).shape == ()


def test_one_per_image_ignores_the_width() -> None:
    budget = broadcast_epsilon(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.zeros(4, 1, 4, 4), math.inf, BOUNDS)
    assert budget.shape == (4, 1, 1, 1)


def test_rejects_a_vector_of_another_length() -> None:
    with pytest.raises(SettingError, match=r"\(3,\).*reshape"):
        broadcast_epsilon(torch.full((3,), 0.1), torch.zeros(2, 1, 5, 3), math.inf, BOUNDS)


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 3, 1, 1), (3, 4, 4), (4, 4), (2, 3, 4, 4), (1,)])
def test_linf_accepts_broadcastable_budgets(shape: tuple[int, ...]) -> None:
    x = torch.zeros(2, 3, 4, 4)
    budget = broadcast_epsilon(torch.full(shape, 0.1), x, math.inf, BOUNDS)
    assert (x + budget).shape == x.shape


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (2, 2, 4, 4), (1, 2, 3, 4, 4)])
def test_rejects_unbroadcastable_budgets(shape: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match="must broadcast"):
        broadcast_epsilon(torch.full(shape, 0.1), torch.zeros(2, 3, 4, 4), math.inf, BOUNDS)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (4, 4), (1, 3, 1, 1)])
def test_other_norms_reject_pixel_budgets(shape: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match="norm 2"):
        broadcast_epsilon(torch.full(shape, 0.1), torch.zeros(2, 3, 4, 4), 2, BOUNDS)


@pytest.mark.parametrize("epsilon", [-0.1, math.nan, math.inf, torch.tensor([0.1, -0.1]), torch.tensor([0.1, math.nan])])
def test_negative_or_not_finite_is_refused(epsilon: float | torch.Tensor) -> None:
    with pytest.raises(SettingError, match="finite number >= 0"):
        broadcast_epsilon(epsilon, torch.zeros(2, 1, 3, 3), 2, BOUNDS)


def test_linf_beyond_the_bounds_suggests_8_255() -> None:
    with pytest.raises(SettingError, match="did you mean 8/255"):
        broadcast_epsilon(8, torch.zeros(2, 1, 3, 3), math.inf, BOUNDS)
    broadcast_epsilon(8, torch.zeros(2, 1, 3, 3), 2, BOUNDS)
    broadcast_epsilon(8, torch.zeros(2, 1, 3, 3), math.inf, None)


@given(
    x=st.lists(st.floats(-3, 5, width=32), min_size=1, max_size=8),
    epsilon=st.floats(0, 3, width=32),
    sign=st.sampled_from([-1.0, 0.0, 1.0]),
)
def test_within_bounds_and_epsilon(x: list[float], epsilon: float, sign: float) -> None:
    images = torch.tensor([x])
    moved = step(images, torch.full_like(images, sign), torch.tensor(epsilon), math.inf, Bounds(-3.0, 5.0))
    assert (moved >= -3).all()
    assert (moved <= 5).all()
    assert ((moved.double() - images.double()).abs() <= epsilon + 8 * torch.finfo(torch.float32).eps).all()


@given(x=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8), norm=st.sampled_from([1.0, 2.0, math.inf]))
def test_no_budget_returns_the_input(x: list[float], norm: float) -> None:
    images = torch.tensor([x])
    assert torch.equal(step(images, torch.ones_like(images), torch.tensor(0.0), norm, BOUNDS), images)


def test_no_bounds_mean_no_clipping() -> None:
    x = torch.tensor([[0.9, 0.1]])
    moved = step(x, torch.tensor([[1.0, -1.0]]), torch.tensor(0.5), 2, None)
    assert torch.equal(moved, torch.tensor([[0.9 + 0.5, 0.1 - 0.5]]))
