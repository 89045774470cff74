"""The smallest budget on the grid, against a full search and against a model whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.attack.minimal import budget_grid, minimal_epsilon
from robustbench_fgsm.errors import SettingError


def line(x: Tensor) -> Tensor:
    """Class 1 from x = 0.6 on."""
    return torch.stack([0.6 - x[:, 0], x[:, 0] - 0.6], 1)


def wave(x: Tensor) -> Tensor:
    """Success comes and goes with the budget."""
    flat = x.flatten(1)
    return torch.stack([(30 * flat).sin().sum(1), (17 * flat).cos().sum(1), flat.sum(1) / 10], 1)


def test_grid_reaches_its_end() -> None:
    assert budget_grid(0.3, 0.1) == [0.0, 0.1, 0.2, 0.3]
    assert budget_grid(8 / 255, 1 / 255)[-1] == 8 / 255
    assert len(budget_grid(8 / 255, 1 / 255)) == 9
    assert budget_grid(0.25, 0.1) == [0.0, 0.1, 0.2]
    assert budget_grid(0.0, 0.1) == [0.0]


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf, "1/255", None, True])
def test_a_grid_needs_a_step(step: float) -> None:
    with pytest.raises(SettingError, match="epsilon step"):
        budget_grid(0.3, step)


def test_known_distances() -> None:
    x = torch.tensor([[0.7], [0.35], [0.55], [0.0], [0.5]], dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 0, 1])
    found = minimal_epsilon(line, x, y, 0.3, epsilon_step=0.1)
    assert found.epsilon[:3].tolist() == [0.0, 0.3, 0.1]  # wrong already; 0.25 away; 0.05 away
    assert found.epsilon[3].isnan()
    assert found.epsilon[4] == 0.0
    assert torch.equal(found.x_adv[3], x[3])
    assert found.x_adv[1].item() == pytest.approx(0.65)


def test_reached_targets_need_no_budget() -> None:
    x = torch.tensor([[0.7], [0.45]], dtype=torch.float64)
    found = minimal_epsilon(line, x, torch.tensor([1, 1]), 0.3, epsilon_step=0.1, targeted=True)
    assert found.epsilon.tolist() == [0.0, 0.2]


def test_bisection_refines_and_stays_fooled() -> None:
    x, y = torch.tensor([[0.35]], dtype=torch.float64), torch.tensor([0])
    found = minimal_epsilon(line, x, y, 0.3, epsilon_step=0.1, bisections=20)
    assert 0.25 < found.epsilon.item() < 0.25 + 1e-6
    assert line(found.x_adv).argmax(1).item() == 1


@given(
    seed=st.integers(0, 2**32),
    norm=st.sampled_from(["inf", 2, 1, 3]),
    targeted=st.booleans(),
    n=st.integers(1, 12),
    masked=st.booleans(),
)
def test_matches_the_full_search(seed: int, norm: str | float, targeted: bool, n: int, masked: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 2, 3, dtype=torch.float64, generator=generator)
    y = torch.randint(0, 3, (n,), generator=generator)
    mask = torch.tensor([True, False, True]) if masked else None
    found = minimal_epsilon(wave, x, y, 0.5, epsilon_step=0.05, norm=norm, targeted=targeted, mask=mask)
    expected = torch.full((n,), math.nan, dtype=torch.float64)
    for epsilon in reversed(budget_grid(0.5, 0.05)):
        hit = wave(fgsm(wave, x, y, epsilon, norm=norm, targeted=targeted, mask=mask)).argmax(1) == y
        expected[hit if targeted else ~hit] = epsilon
    torch.testing.assert_close(found.epsilon, expected, rtol=0, atol=0, equal_nan=True)
    for i, epsilon in enumerate(expected.nan_to_num(0).tolist()):
        alone = fgsm(wave, x[i : i + 1], y[i : i + 1], epsilon, norm=norm, targeted=targeted, mask=mask)
        torch.testing.assert_close(found.x_adv[i : i + 1], alone, rtol=0, atol=1e-12)


def test_fooled_images_are_not_repeated() -> None:
    sizes: list[int] = []

    def counted(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return line(x)

    x = torch.tensor([[0.7], [0.55], [0.45], [0.35]], dtype=torch.float64)
    minimal_epsilon(counted, x, torch.zeros(4, dtype=torch.int64), 0.5, epsilon_step=0.1)
    assert sizes == [4, 3, 2, 1]


@pytest.mark.parametrize("bisections", [-1, 1.5, "3", None])
def test_bisections_are_counted(bisections: Any) -> None:
    with pytest.raises(SettingError, match="bisections must be an integer >= 0"):
        minimal_epsilon(line, torch.tensor([[0.5]]), torch.tensor([0]), bisections=bisections)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_counted(value: float) -> None:
    x, y = torch.tensor([[0.5], [0.55], [0.9]]), torch.tensor([0, 0, 1])
    with pytest.warns(RuntimeWarning, match="1 of 3 images have outputs that are not finite, and no predicted class"):
        found = minimal_epsilon(lambda x: line(x).where(x < 0.8, value), x, y, 0.2, epsilon_step=0.01)
    assert found.epsilon.isfinite().tolist() == [True, True, False]
    with pytest.warns(RuntimeWarning, match="2 of 3 images have outputs that are not finite at some budget"):
        lost = minimal_epsilon(lambda x: line(x).where((x - 0.6).abs() > 0.02, value), x, y, 0.2, epsilon_step=0.01)
    assert lost.epsilon[:2].tolist() > found.epsilon[:2].tolist()
