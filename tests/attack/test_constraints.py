"""What belongs to images goes with them into batches, and a step keeps it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from robustbench_fgsm.attack.constraints import BoundedStep, Constraint, broadcast_budgets
from robustbench_fgsm.errors import SettingError

X = torch.linspace(0.1, 0.9, 24).view(4, 1, 2, 3)
UP = BoundedStep(torch.ones_like(X), torch.zeros(4, dtype=torch.bool))


def room(epsilon: float | list[float], step: float | list[float] = 1.0, **rest: Tensor | tuple[Tensor, Tensor]) -> Constraint:
    sizes = [broadcast_budgets(np.array(value), X, math.inf) for value in (epsilon, step)]
    return Constraint(X, sizes[0], sizes[1], math.inf, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), ()), ((1,), (1, 1, 1, 1)), ((4,), (4, 1, 1, 1)), ((3,), (1, 1, 1, 3)), ((2, 3), (2, 3)), ((4, 1, 2, 3),) * 2],
)
def test_one_axis_means_budgets_per_image(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    found = broadcast_budgets(np.full(shape, 0.1), X, math.inf)
    assert found.shape == expected
    assert found.dtype == torch.float64


@pytest.mark.parametrize(("shape", "norm"), [((5,), math.inf), ((3, 2), math.inf), ((3,), 2.0)])
def test_rejects_misshapen_budgets(shape: tuple[int, ...], norm: float) -> None:
    with pytest.raises(SettingError, match="epsilon must b"):
        broadcast_budgets(np.full(shape, 0.1), X, norm)


def test_warns_only_if_readings_differ() -> None:
    square = torch.zeros(3, 1, 3, 3)
    assert broadcast_budgets(np.full(3, 0.1), square, math.inf).shape == (3, 1, 1, 1)
    with pytest.warns(UserWarning, match=r"taken as one an image.*\(3, 1, ...\)"):
        broadcast_budgets(np.array([0.1, 0.2, 0.3]), square, math.inf)


@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([1, 2])])
def test_a_selection_keeps_its_own_values(rows: slice | Tensor) -> None:
    mask = torch.arange(24).view(4, 1, 2, 3) % 2
    bounds = torch.zeros(1), torch.linspace(0.5, 1, 3)
    whole = room([0.1, 0.2, 0.3, 0.4], mask=mask, bounds=bounds)
    part = whole.at(rows)
    assert part.mask is not None
    assert torch.equal(part.mask, mask[1:3])
    assert part.bounds == bounds
    assert torch.equal(part.perturb(UP.at(torch.tensor([1, 2])), part.epsilon), whole.perturb(UP, whole.epsilon)[1:3])


def test_a_selection_keeps_shared_values() -> None:
    mask = torch.ones(1, 1, 2, 3)
    part = room(0.1, mask=mask).at(slice(1, 3))
    assert part.mask is mask
    assert part.epsilon.shape == ()


def test_mask_removes_nonfinite_gradients() -> None:
    gradient = torch.ones_like(X)
    gradient[0, 0, 0, 0] = math.nan
    gradient[1, 0, 1, 2] = math.inf
    mask = torch.ones(2, 3)
    mask[0, 0] = 0
    course = room(0.1, mask=mask).bounded_step(gradient)
    assert course.nonfinite_gradient.tolist() == [False, True, False, False]
    assert course.direction[0].flatten().tolist() == [0, 1, 1, 1, 1, 1]
    moved = room(0.1).perturb(course, torch.tensor(0.1))
    assert torch.equal(moved[1], X[1])
    assert torch.equal(room(0.1).perturb(course, torch.tensor(0.1), start=X + 0.05)[1], X[1])


def test_budget_limits_images_outside_the_bounds() -> None:
    bounds = torch.tensor(0.0), torch.tensor(0.5)
    moved = room(0.1, bounds=bounds).perturb(UP, torch.tensor(0.1, dtype=torch.float64))
    expected = torch.where(X <= 0.5, (X + 0.1).clamp(max=0.5), (X - 0.1).clamp(min=0.5))
    torch.testing.assert_close(moved, expected)


def test_grid_ends_at_each_budget() -> None:
    uneven = room([0.3, 0.25, 0.0, 1.0], [0.1, 0.1, 0.1, 0.25])
    assert uneven.last_grid_index().tolist() == [3, 2, 0, 4]
    assert uneven.grid_epsilon(3).flatten().tolist() == [0.3, 0.25, 0.0, 0.75]  # 3 * 0.1 > 0.3 is 0.3
    assert room([0.0, 0.5, 0.0, 0.0], [0.0, 0.5, 0.0, 1.0]).last_grid_index().tolist() == [0, 1, 0, 0]


def test_direction_has_the_gradient_precision() -> None:
    tiny = torch.full((4, 1, 2, 3), 1e-60, dtype=torch.float64)
    course = Constraint(X, torch.tensor(0.1), torch.tensor(0.1), 2.0).bounded_step(tiny)
    assert course.direction.dtype == torch.float32
    torch.testing.assert_close(course.direction.flatten(1).norm(dim=1), torch.ones(4))
