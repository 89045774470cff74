"""Rounding to 8 bits: on the grid, in the ball, and exact where the grid allows it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustbench_fgsm.attack.direction import steepest_direction
from robustbench_fgsm.attack.quantization import QuantizedImages, levels_to_pixels, round_to_levels
from robustbench_fgsm.attack.step import broadcast_epsilon, step
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

BOUNDS = PIXEL_BOUNDS
ULP = 2.0**-23

seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from([1.0, 1.5, 2.0, 7.0])


def images(seed: int, *, on_grid: bool) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if on_grid:
        return levels_to_pixels(torch.randint(0, 256, (4, 1, 3, 5), generator=generator, dtype=torch.uint8))
    return torch.rand(4, 1, 3, 5, generator=generator)


def attacked(x: Tensor, epsilon: float, norm: float, seed: int) -> Tensor:
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    direction = steepest_direction(gradient, norm)
    return step(x, direction, broadcast_epsilon(epsilon, x, norm, BOUNDS), norm, BOUNDS)


def rounded(x_adv: Tensor, x: Tensor, epsilon: float, norm: float = math.inf) -> QuantizedImages:
    return round_to_levels(x_adv, x, epsilon, norm=norm, bounds=BOUNDS)


def distance(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() - b.double()).abs()


@given(seeds, st.floats(0, 1), st.booleans())
def test_linf_counts_pixels_outside_the_ball(seed: int, epsilon: float, on_grid: bool) -> None:
    x = images(seed, on_grid=on_grid)
    found = rounded(attacked(x, epsilon, math.inf, seed), x, epsilon)
    far = distance(found.levels.double() / 255, x) > epsilon + 1.5 * ULP
    assert found.levels.dtype == torch.uint8
    assert (far.flatten(1).sum(1) <= found.pixels_outside).all()
    if on_grid or epsilon >= 0.5 / 255:
        assert not far.any()
        assert not found.pixels_outside.any()


@given(seeds, st.floats(0, 20), norms, st.booleans())
def test_other_norms_count_farther_pixels(seed: int, epsilon: float, norm: float, on_grid: bool) -> None:
    x = images(seed, on_grid=on_grid)
    x_adv = attacked(x, epsilon, norm, seed)
    found = rounded(x_adv, x, epsilon, norm)
    before, after = distance(x_adv, x), distance(found.levels.double() / 255, x)
    assert ((after > before + 1.5 * ULP).flatten(1).sum(1) <= found.pixels_outside).all()
    if on_grid:
        length = torch.linalg.vector_norm(after.flatten(1), norm, dim=1)
        assert (length <= epsilon * (1 + 1e-5) + 15 * 1.5 * ULP).all()
        assert not found.pixels_outside.any()


@given(seeds, st.floats(0, 1))
def test_rounds_to_the_nearest_level_inside(seed: int, epsilon: float) -> None:
    x = images(seed, on_grid=False)
    x_adv = attacked(x, epsilon, math.inf, seed)
    nearest = (x_adv.double() * 255).round()
    inside = distance(nearest / 255, x) <= epsilon
    assert (rounded(x_adv, x, epsilon).levels[inside] == nearest[inside]).all()


@given(seeds, st.integers(0, 255))
def test_exact_for_values_on_the_grid(seed: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (4, 1, 3, 5), generator=generator, dtype=torch.uint8)
    signs = torch.randint(-1, 2, levels.shape, generator=generator)
    x, epsilon = levels_to_pixels(levels), steps / 255
    x_adv = step(x, signs.float(), broadcast_epsilon(epsilon, x, math.inf, BOUNDS), math.inf, BOUNDS)
    found = rounded(x_adv, x, epsilon)
    assert torch.equal(found.levels.int(), (levels.int() + steps * signs).clamp(0, 255))
    assert not found.pixels_outside.any()
    assert (distance(levels_to_pixels(found.levels), x_adv) <= ULP).all()


@pytest.mark.parametrize(
    ("clean", "adversarial", "epsilon", "norm", "level", "outside"),
    [
        (10.0, 12.6, 2.6, math.inf, 12, 0),  # 13 is nearer, and outside
        (10.3, 12.9, 2.6, math.inf, 12, 0),
        (10.3, 7.7, 2.6, math.inf, 8, 0),
        (10.4, 12.4, 2.0, math.inf, 12, 0),
        (10.4, 10.7, 0.3, math.inf, 10, 1),  # nothing in [10.1, 10.7]
        (10.6, 10.3, 0.3, math.inf, 11, 1),
        (254.8, 255.0, 0.4, math.inf, 255, 0),
        (0.3, 0.0, 0.2, math.inf, 0, 1),
        (10.0, 12.6, 99.0, 2.0, 12, 0),
        (10.0, 7.4, 99.0, 2.0, 8, 0),
        (10.3, 10.9, 99.0, 1.0, 10, 0),  # 11 is farther from 10.3 than 10.9 is, 10 is not
        (10.3, 10.3, 99.0, 2.0, 10, 1),
    ],
)
def test_one_pixel(clean: float, adversarial: float, epsilon: float, norm: float, level: int, outside: int) -> None:
    x, x_adv = (torch.full((1, 1, 1, 1), value / 255) for value in (clean, adversarial))
    found = rounded(x_adv, x, epsilon / 255, norm)
    assert (int(found.levels), int(found.pixels_outside)) == (level, outside)


def test_bounds_within_the_pixel_range_hold() -> None:
    x = torch.full((1, 1, 1, 1), 100.2 / 255)
    found = round_to_levels(x, x, 1.0, norm=math.inf, bounds=Bounds(100.1 / 255, 200 / 255))
    assert int(found.levels) == 101


def test_levels_survive_a_round_trip() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = levels_to_pixels(levels)
    assert x.dtype == torch.float32
    assert torch.equal(rounded(x, x, 0.0).levels, levels)


def test_levels_of_channels_with_bounds_of_their_own() -> None:
    """Colours without their mean, as Caffe's networks take them."""
    mean = (103.939, 116.779, 123.68)
    bounds = Bounds(tuple(-one for one in mean), tuple(255 - one for one in mean))
    levels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 256).reshape(1, 3, 16, 16)
    expected = levels.float() - torch.tensor(mean).view(3, 1, 1)
    torch.testing.assert_close(levels_to_pixels(levels, bounds), expected)


def test_integers_of_a_table_with_bounds_by_feature_are_plain_numbers() -> None:
    ages = torch.tensor([[18, 2], [99, 5]], dtype=torch.uint8)
    assert torch.equal(levels_to_pixels(ages, Bounds((0.0, 0.0), (100.0, 7.0))), ages.float())
