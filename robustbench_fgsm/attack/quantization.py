"""Rounding of adversarial images to 8-bit pixels within the ball of the attack."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import clip_in_place, limits_of
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

MAX_LEVEL = 255
"""An 8-bit pixel k stands for k / 255."""

LEVEL_TOLERANCE = MAX_LEVEL * 2.0**-23
"""One rounding error of a float32 pixel, in levels: a grid point so far outside the ball still counts as inside, because
8/255 is not a float32 number."""


@dataclass(frozen=True)
class QuantizedImages:
    """Images as uint8 levels, and (N,) int64 counts of pixels per image without a grid point in the ball."""

    levels: Tensor
    pixels_outside: Tensor


def round_to_levels(x_adv: Tensor, x: Tensor, epsilon: float, *, norm: float, bounds: Bounds) -> QuantizedImages:
    """Return the adversarial images x_adv (N, ...) on the grid k / 255, within the budget around x and the bounds.

    Under L-infinity each pixel becomes the grid point nearest to x_adv in [x - epsilon, x + epsilon]. Under another norm, only
    grid points that are no farther from x than x_adv are used, so no norm of the perturbation grows. If there is no such grid point
    (x is then off the grid), the pixel becomes the grid point nearest to x and is counted. Only float32 rounding is lost if x is
    k/255 and epsilon is m/255. The bounds lie in [0, 1].
    """
    clean, adversarial = x.double() * MAX_LEVEL, x_adv.double() * MAX_LEVEL
    radius = torch.full_like(clean, epsilon * MAX_LEVEL) if norm == math.inf else (adversarial - clean).abs()
    low, high = bounds.limits
    lowest = ((clean - radius).clamp(min=low * MAX_LEVEL) - LEVEL_TOLERANCE).ceil()
    highest = ((clean + radius).clamp(max=high * MAX_LEVEL) + LEVEL_TOLERANCE).floor()
    outside = lowest > highest
    levels = torch.where(outside, clean.round(), adversarial.round().clamp(lowest, highest))
    return QuantizedImages(levels.to(torch.uint8), outside.flatten(1).sum(1))


def levels_to_pixels(levels: Tensor, bounds: Bounds = PIXEL_BOUNDS) -> Tensor:
    """Return float32 images within the bounds, of which 8-bit level 0 is the low and level 255 the high one.

    Every loader reads 8-bit images so. Under bounds that are not finite, level k becomes k / 255. In a table (N, F) whose features
    have bounds of their own, 8-bit integers are plain numbers.
    """
    if bounds == PIXEL_BOUNDS or not math.isfinite(bounds.width):
        return levels.float().div_(MAX_LEVEL)
    if not bounds.is_uniform and levels.ndim == 2:
        return levels.float()
    pixels = levels.float()
    low, high = limits_of(bounds, pixels)
    if bounds.is_uniform and bounds.width == MAX_LEVEL:
        return pixels.add_(low)
    return clip_in_place(pixels.div_(MAX_LEVEL).mul_(high - low).add_(low), bounds)
