"""Adversarial images on the grid of 8-bit pixels, without leaving the ball that the attack kept to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.spec import Bounds

MAX_LEVEL = 255
"""An 8-bit pixel k stands for k / 255."""

LEVEL_TOLERANCE = MAX_LEVEL * 2.0**-23
"""In levels, one rounding of a float32 pixel: so far past the ball a grid point still counts as in it, for 8/255 is not
a float32 number."""


@dataclass(frozen=True)
class QuantizedImages:
    """levels: uint8 in the shape of the images; outside: (N,) int64, pixels an image with no grid point in the ball."""

    levels: Tensor
    pixels_outside: Tensor


def round_to_levels(x_adv: Tensor, x: Tensor, epsilon: float, *, norm: float, bounds: Bounds) -> QuantizedImages:
    """The adversarial images on the grid k / 255, no farther from x than the budget allows, and within bounds.

    x_adv, x: (N, ...) within bounds, which lie in [0, 1]. Under L-infinity each pixel goes to the grid point nearest to
    x_adv among those in [x - epsilon, x + epsilon]; under any other norm among those no farther from x than x_adv is, so
    that no norm of the perturbation grows. Where there is none, which needs an x off the grid, the pixel goes to the grid
    point nearest to x and is counted. Nothing is lost but float32 rounding where x is k/255 and epsilon m/255.
    """
    centre, wanted = x.double() * MAX_LEVEL, x_adv.double() * MAX_LEVEL
    reach = torch.full_like(centre, epsilon * MAX_LEVEL) if norm == math.inf else (wanted - centre).abs()
    lowest = ((centre - reach).clamp(min=bounds[0] * MAX_LEVEL) - LEVEL_TOLERANCE).ceil()
    highest = ((centre + reach).clamp(max=bounds[1] * MAX_LEVEL) + LEVEL_TOLERANCE).floor()
    outside = lowest > highest
    levels = torch.where(outside, centre.round(), wanted.round().clamp(lowest, highest))
    return QuantizedImages(levels.to(torch.uint8), outside.flatten(1).sum(1))


def levels_to_pixels(levels: Tensor) -> Tensor:
    """The float32 images that 8-bit ones stand for, as every loader reads them: k / 255."""
    return levels.float().div_(MAX_LEVEL)
