"""The variants of each stage: what is unchanged, what is a permutation, and values by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.stages import (
    CLIPS,
    DIRECTIONS,
    EIGHT_BIT_PREFIXES,
    IMAGE_ORDERS,
    LOSS_VARIANTS,
    OUTPUT_FORMATS,
    PIXEL_LAYOUTS,
    SIGN_DIRECTIONS,
    STEP_EPSILONS,
)

IMAGES = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
CALL = AttackCall(PixelSpaceNetwork(nn.Flatten(), 0.5, 0.25), IMAGES, torch.tensor([0, 1]), 8 / 255)


@pytest.mark.parametrize("transform", [*PIXEL_LAYOUTS.values(), *IMAGE_ORDERS.values()], ids=[*PIXEL_LAYOUTS, *IMAGE_ORDERS])
def test_layouts_and_orders_are_permutations(transform: Callable[[Tensor], Tensor]) -> None:
    assert torch.equal(transform(IMAGES).flatten().sort().values, IMAGES.flatten().sort().values)


@pytest.mark.parametrize("name", [name for name in OUTPUT_FORMATS if name.startswith(EIGHT_BIT_PREFIXES)])
def test_eight_bit_formats_have_256_levels(name: str) -> None:
    levels = OUTPUT_FORMATS[name](IMAGES) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)


@pytest.mark.parametrize("name", SIGN_DIRECTIONS)
def test_sign_directions_have_unit_entries(name: str) -> None:
    found = DIRECTIONS[name](torch.tensor([-2.0, 0.0, 3.0]).view(1, 1, 1, 3)).flatten().tolist()
    assert found == [-1, {"sign": 0, "plus-at-zero": 1, "minus-at-zero": -1}[name], 1]


@pytest.mark.parametrize(("name", "factor"), [("given", 1), ("half", 0.5), ("over-255", 1 / 255), ("times-255", 255), ("none", 0)])
def test_step_epsilons_by_hand(name: str, factor: float) -> None:
    assert STEP_EPSILONS[name](CALL) == pytest.approx(factor * 8 / 255)


def test_normalised_epsilon_scales_with_std() -> None:
    found = STEP_EPSILONS["normalised"](CALL)
    assert isinstance(found, Tensor)
    assert torch.allclose(found, torch.tensor(0.25 * 8 / 255))


@pytest.mark.parametrize(
    ("name", "low", "high"), [("bounds", 0, 1), ("normalised", 0.5, 0.75), ("to [-1, 1]", -1, 1), ("at the top only", -3, 1)]
)
def test_clips_by_hand(name: str, low: float, high: float) -> None:
    clipped = CLIPS[name](torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2), CALL)
    assert (float(clipped.min()), float(clipped.max())) == pytest.approx((low, high))


@pytest.mark.parametrize("name", LOSS_VARIANTS)
def test_losses_give_one_value_per_image(name: str) -> None:
    assert LOSS_VARIANTS[name](torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([0, 1])).shape == (2,)
