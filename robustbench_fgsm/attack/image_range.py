"""The range of images against the bounds: which conversion an image needs that lies outside, or in another scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_fgsm.attack.normalisation import HALF, find_normalisation
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.spec import NUM_LEVELS, PIXEL_BOUNDS, Bounds, has_integer_levels

SIGNED_BOUNDS = Bounds(-1.0, 1.0)
LEVEL_BOUNDS = Bounds(0.0, float(NUM_LEVELS))
MAX_16_BITS = 65535
MIN_IMAGES = 8
"""Images that are needed to say that none has a pixel below 0."""


def check_range(x: Tensor, low: float, high: float, bounds: Bounds) -> list[str]:
    """Return warnings if images are probably in another scale than the bounds.

    x: (N, ...) images, whose extremes are low and high. Raises DataError, with the conversion, if images lie outside the bounds.
    """
    if bounds.limits[0] <= low and high <= bounds.limits[1]:
        return _scale_warnings(x, low, high, bounds)
    lowest, highest = torch.tensor(bounds.limits, dtype=x.dtype).tolist()  # 2.64 in float32 is above 2.64
    if lowest <= low and high <= highest:
        return []
    lies = f"images must lie in {bounds}, got [{low:g}, {high:g}]"
    raise DataError(f"{lies}{_range_hint(x, low, high, bounds)}")


def float_hint(x: Tensor, bounds: Bounds | None) -> str:
    """Return the remedy for images of integers."""
    if bounds is None or not math.isfinite(bounds.width) or (x.ndim == 2 and x.dtype != torch.uint8):
        return "pass images.float()"
    has_16_bits = x.dtype == torch.uint16 or (x.numel() > 0 and int(x.long().max()) > NUM_LEVELS)  # uint16 has no maximum
    bits, levels = (16, MAX_16_BITS) if has_16_bits else (8, NUM_LEVELS)
    return f"pass {conversion(Bounds(0.0, float(levels)), bounds)} if they are {bits}-bit images"


def conversion(source: Bounds, bounds: Bounds) -> str:
    """Return the expression that brings images from one range into another one, such as `images / 127.5 - 1`."""
    factor = bounds.width / source.width
    shift = bounds.limits[0] - source.limits[0] * factor
    scaled = f"images / {1 / factor:.7g}" if factor < 1 else f"images * {factor:.7g}" if factor > 1 else "images.float()"
    if factor > 1 and (top := source.width) >= NUM_LEVELS:  # a product of uint8 overflows, and a rounded factor may exceed
        scaled = f"images / {top:.10g} * {bounds.width:.10g}"
    return scaled if shift == 0 else f"{scaled} {'+' if shift > 0 else '-'} {abs(shift):.7g}"


def _range_hint(x: Tensor, low: float, high: float, bounds: Bounds) -> str:
    """Return the remedy for images outside the bounds, as the end of a sentence."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ": fix or leave out images with values that are not finite"
    (lowest, highest), width = bounds.limits, bounds.width
    if not math.isfinite(width):
        return f": {_wider_bounds(x, low, high)}"
    excess = max(lowest - low, high - highest)
    if excess <= 1e-3 * min(width, max(abs(low), abs(high))):
        return f": round them off with images.clamp({lowest:g}, {highest:g})"
    if 0 <= low <= high <= 1 and x.ndim > 2:
        return f": pass {conversion(PIXEL_BOUNDS, bounds)}"
    if low >= 0 and 2 * highest < high <= NUM_LEVELS and (x.ndim > 2 or bool((x == x.round()).all())):
        also = "" if x.ndim > 2 else f" if they are 8-bit images, else {_wider_bounds(x, low, high)}"
        return f": pass {conversion(LEVEL_BOUNDS, bounds)}{also}"
    found = find_normalisation(x)
    if found is HALF or (found is None and x.ndim == 4 and -1 <= low < 0 and high <= 1):
        back = conversion(SIGNED_BOUNDS, bounds)
        return f", as of images normalised by {HALF}: pass {back}, or bounds=(-1, 1) if the network takes these"
    if found is not None:
        return (
            f", normalised by {found}: pass the images as they were before, and this mean and std to wrap "
            "(--mean, --std), which normalises inside"
        )
    if x.ndim == 4 and low < 0:
        return (
            ", perhaps of normalised images: pass the images as they were before, and their mean and std to wrap (--mean, --std), "
            f"or {_wider_bounds(x, low, high)}"
        )
    return f": {_wider_bounds(x, low, high)}"


def _wider_bounds(x: Tensor, low: float, high: float) -> str:
    """Return the remedy to pass bounds that hold all values, rounded outwards."""
    exponent = 2 - math.floor(math.log10(max(abs(low), abs(high), 1e-6)))
    lowest, highest = math.floor(low * 10.0**exponent), math.ceil(high * 10.0**exponent)
    values = [round(steps / 10.0**exponent, max(exponent, 0)) for steps in (lowest, highest + (lowest == highest))]
    numbers = f"bounds=({values[0]:.10g}, {values[1]:.10g})"
    if x.ndim > 2:
        return f"pass bounds that hold all values, such as {numbers}"
    return f"pass bounds that hold all features, such as {numbers}, or arrays with low and high of each feature (--bounds FILE)"


def _scale_warnings(x: Tensor, low: float, high: float, bounds: Bounds) -> list[str]:
    if bounds == PIXEL_BOUNDS or x.ndim < 3 or not 0 <= low <= high <= 1 or high == 0:
        return []
    if not (has_integer_levels(bounds) or (bounds == SIGNED_BOUNDS and len(x) >= MIN_IMAGES)):
        return []
    return [
        f"all {len(x)} images lie in [0, 1], but the bounds are {bounds}: "
        f"pass {conversion(PIXEL_BOUNDS, bounds)}, or bounds=(0, 1) if the network takes [0, 1]"
    ]
