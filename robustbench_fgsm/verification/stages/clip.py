"""To which range the result is clipped: bounds for each channel, of the batch, or none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import MIN_SHARE, Evidence, channel_sizes, unit_vector, way_sizes
from robustbench_fgsm.verification.stage_result import StageResult, numbers_text, ok, rounded, unmeasured, wrong

EXPECTED = "clipped to [0, 1]"
CLOSE = 2e-3
MAX_RESOLUTION = 0.01
"""Distance of output levels above which the bounds of a batch cannot be read."""


def read_clip(evidence: Evidence, direction: StageResult) -> StageResult:
    """Measure the lowest and highest outputs for pixels of all levels, in a wide and in a narrow batch."""
    wide, narrow = evidence.get("levels"), evidence.get("levels, narrow")
    if wide is None or narrow is None or wide.images is None:
        return unmeasured("clip", "no images came back for pixels of all levels")
    raw, counts = _unclipped(evidence, wide)
    if not bool(counts.any()):
        return unmeasured("clip", "no pixel moved")
    lows, highs = (wide.images.amin((0, 2, 3)), wide.images.amax((0, 2, 3)))
    reach_low, reach_high = (torch.where(counts, raw, 0.5).amin((0, 2, 3)), torch.where(counts, raw, 0.5).amax((0, 2, 3)))
    numbers = {"low": rounded(lows), "high": rounded(highs)}
    ways = way_sizes(size) if (size := evidence.get("size")) is not None else (1.0, 1.0)
    is_sign = direction.verdict == "ok" and (min(ways) == 0 or abs(ways[0] / ways[1] - 1) < 0.02)
    if is_sign and (found := _stretched(evidence, wide, numbers)):
        return found
    if found := _batch_bounds(evidence, narrow, numbers):
        return found
    width = _width(evidence)
    right_low, right_high = (bool((lows.abs() <= width).all()), bool(((highs - 1).abs() <= width).all()))
    if right_low and right_high and (not is_sign or _clamped(evidence, wide, raw, counts, lows, highs)):
        if is_sign and (float(reach_low.max()) > -1e-5 or float(reach_high.min()) < 1 + 1e-5):
            return unmeasured("clip", "no step reaches beyond the bounds")
        return ok("clip", "to [0, 1]", EXPECTED, **numbers)
    shown = f"outputs reach {numbers_text(lows)} to {numbers_text(highs)}"
    free_low, free_high = (bool(((one - other).abs() <= CLOSE).all()) for one, other in ((lows, reach_low), (highs, reach_high)))
    if free_low and free_high and not (right_low or right_high):
        return wrong("clip", "no-clip", f"none: {shown}", EXPECTED, **numbers)
    mean, std = (one.flatten().expand(len(lows)) for one in (wide.call.mean, wide.call.std))
    if torch.allclose(lows, mean, atol=CLOSE) and torch.allclose(highs, torch.minimum(mean + std, reach_high), atol=CLOSE):
        return wrong("clip", "normalised-clip", f"to [0, 1] of normalised images: {shown}", EXPECTED, **numbers)
    if right_low and right_high and float(((raw % 1 - wide.images).abs() <= CLOSE)[counts].float().mean()) > MIN_SHARE:
        return wrong(
            "clip", "wrong-clip-range", "not by a clamp: pixels beyond one bound come back at the other", EXPECTED, **numbers
        )
    if right_low and right_high:
        return wrong("clip", "wrong-clip-range", f"not by a clamp: {shown}, and pixels between differ", EXPECTED, **numbers)
    about = " at the top only" if free_low and right_high else " at the bottom only" if free_high and right_low else ""
    return wrong("clip", "wrong-clip-range", f"to another range{about}: {shown}", EXPECTED, **numbers)


def _width(evidence: Evidence) -> float:
    """Return the distance within which a pixel is at a bound: rounding, and noise that is added to the result."""
    return evidence.width + (2 * evidence.noise if evidence.noise < MAX_RESOLUTION else 0.0)


def _unclipped(evidence: Evidence, response: Response) -> tuple[Tensor, Tensor]:
    """Return where pixels would go without a clip (N, C, H, W), and the pixels for which that is known."""
    sizes, shares = channel_sizes(response, evidence.resolution)
    small = evidence.get("size")
    if small is not None and float(channel_sizes(small, evidence.resolution)[1].nanmedian()) < 0.3:
        small = evidence.get("size, tiny")  # a step so large that bounds hold nearly all pixels
    if small is not None:
        near, _ = channel_sizes(small, evidence.resolution)
        usual = torch.where(near > 0, near, float("nan")).nanmedian(0).values.expand_as(sizes)
        sizes = torch.where((sizes != 0) & (shares < 0.3), usual, sizes)
    sizes = torch.where(sizes.isnan(), sizes.nanmedian(), sizes)
    signs = evidence.signs.get(response.name)
    if signs is None or evidence.is_mixed:
        directions = response.moved.sign()
    else:
        directions = signs.view(-1, 1, 1, 1) * unit_vector(response).unsqueeze(0)
    raw = response.call.x + sizes[..., None, None] * response.call.epsilon * directions
    return raw, (directions != 0) & (sizes[..., None, None] > 0)


def _clamped(evidence: Evidence, response: Response, raw: Tensor, counts: Tensor, lows: Tensor, highs: Tensor) -> bool:
    """Return True if the images are the unclipped ones, clamped to these bounds."""
    assert response.images is not None  # noqa: S101  (the caller has checked it)
    clamped = torch.maximum(torch.minimum(raw, highs.view(1, -1, 1, 1)), lows.view(1, -1, 1, 1))
    near = (response.images - clamped).abs() <= max(CLOSE, 3 * evidence.resolution)
    return evidence.is_random or float(near[counts].float().mean()) > MIN_SHARE


def _stretched(evidence: Evidence, response: Response, numbers: dict[str, Any]) -> StageResult | None:
    """Find images that are stretched to a range: pixels between the bounds move together with their level."""
    assert response.images is not None  # noqa: S101  (the caller has checked it)
    signs = evidence.signs.get(response.name)
    if signs is None or evidence.is_mixed or evidence.is_random:
        return None
    up = (signs.view(-1, 1, 1, 1) * unit_vector(response)) > 0
    inside = (response.call.x > 0.35) & (response.call.x < 0.65)
    slopes = []
    for half in (up & inside, ~up & inside):
        x, out = response.call.x[half].double(), response.images[half].double()
        if len(x) < 10 or float(x.std()) == 0:
            return None
        slopes.append(float(((x - x.mean()) * (out - out.mean())).sum() / (x - x.mean()).square().sum()))
    if max(slopes) > 0.95 or min(slopes) < 0.05 or abs(slopes[0] - slopes[1]) > 0.05:
        return None
    text = f"not by a clamp: the images are stretched, {slopes[0]:.3g} times their contrast"
    return wrong("clip", "wrong-clip-range", text, EXPECTED, slope=rounded(slopes[0]), **numbers)


def _batch_bounds(evidence: Evidence, response: Response, numbers: dict[str, Any]) -> StageResult | None:
    """Find bounds that are read off the batch or off each image."""
    if response.images is None or evidence.resolution > MAX_RESOLUTION:
        return None
    x, images, width = response.call.x, response.images, _width(evidence)
    raw, counts = _unclipped(evidence, response)
    known = torch.where(counts, raw, x)
    for about, cause, dims in (("image", "bounds-per-image", (1, 2, 3)), ("batch", "clip-to-batch-range", (0, 1, 2, 3))):
        low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
        beyond_low, beyond_high = known < low - 1e-3, known > high + 1e-3
        if about == "image":  # the first image has a range of its own
            beyond_low[1:], beyond_high[1:] = False, False
        at_low = bool(beyond_low.any()) and bool(((images - low).abs() <= width)[beyond_low].float().mean() > MIN_SHARE)
        at_high = bool(beyond_high.any()) and bool(((images - high).abs() <= width)[beyond_high].float().mean() > MIN_SHARE)
        if at_low or at_high:
            which = "lowest and highest pixel" if at_low and at_high else "lowest pixel" if at_low else "highest pixel"
            text = (
                f"to the {which} of the {about}: {float(images.min()):.3g} to {float(images.max()):.3g} for pixels in [0.35, 0.65]"
            )
            return wrong("clip", cause, text, EXPECTED, **numbers)
    return None
