"""Masks: nothing moves where they are 0, and the rest moves as if there were nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.errors import DataError, SettingError

SHAPES = [(4, 2, 3, 3), (1, 2, 3, 3), (2, 3, 3), (3, 3), (3,), (4, 1, 1, 1)]


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("norm", ["inf", 1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float64])
def test_masked_pixels_stay(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, norm: str | float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 2, 3, 3, dtype=torch.float64, generator=generator)
    kept = torch.rand(shape, generator=generator) < 0.5
    kept.view(-1)[0] = True
    mask = kept if dtype == torch.bool else kept.to(dtype) * 0.3
    x_adv = fgsm(network, x, torch.tensor([0, 1, 2, 0]), 0.1, norm=norm, mask=mask, bounds=None)
    where = kept.expand_as(x)
    assert torch.equal(x_adv[~where], x[~where])
    moved = (x_adv - x).flatten(1)
    order = float("inf") if norm == "inf" else float(norm)
    lengths = torch.linalg.vector_norm(moved, order, dim=1)
    expected = torch.where(where.flatten(1).any(1), 0.1, 0.0).double()  # the whole budget on what is left
    torch.testing.assert_close(lengths, expected)


def test_an_ordinary_attack_is_one_whose_mask_is_all_true(network: nn.Module) -> None:
    x, y = torch.rand(4, 2, 3, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    assert torch.equal(fgsm(network, x, y, 0.1, mask=torch.ones(3, 3, dtype=torch.bool)), fgsm(network, x, y, 0.1))


@pytest.mark.parametrize("mask", [torch.ones(2, 2), torch.ones(3, 2, 3, 3), torch.ones(1, 4, 2, 3, 3)])
def test_a_mask_that_does_not_fit_is_refused(network: nn.Module, mask: torch.Tensor) -> None:
    with pytest.raises(SettingError, match="mask must broadcast"):
        fgsm(network, torch.rand(4, 2, 3, 3), torch.tensor([0, 1, 2, 0]), 0.1, mask=mask)


@pytest.mark.parametrize("mask", [torch.ones(3, 3, dtype=torch.int64), torch.full((3, 3), -1.0), torch.full((3, 3), float("nan"))])
def test_a_mask_that_is_none_is_refused(network: nn.Module, mask: torch.Tensor) -> None:
    with pytest.raises(SettingError, match="mask must be bool"):
        fgsm(network, torch.rand(4, 2, 3, 3), torch.tensor([0, 1, 2, 0]), 0.1, mask=mask)


def test_a_start_that_does_not_fit_is_refused(network: nn.Module) -> None:
    with pytest.raises(DataError, match="start must have the shape"):
        fgsm(network, torch.rand(4, 2, 3, 3), torch.tensor([0, 1, 2, 0]), 0.1, start=torch.rand(2, 3, 3))
