"""What happens to the images before they are returned: order of pixels and images, 8 bits, half precision, compression."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustbench_fgsm.verification.bench_calls import UNSEEN_COLUMNS
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import MIN_SHARE, Evidence
from robustbench_fgsm.verification.stage_result import StageResult, most_common_value, numbers_text, ok, rounded, unmeasured, wrong

EXPECTED = "float images in the order of x, neither rounded nor compressed"
MAX_LEVELS = 300
"""Number of different pixels up to which an output counts as rounded to levels."""

GRID_WIDTH = 5e-4
"""Distance from a whole number, in units of 1/255, within which a pixel is an 8-bit one."""

NEAR_ZERO = 1e-3
"""Magnitude below which pixels count as those of a perturbation at a budget of 1e-6, also with a random start."""

TensorTransform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layout:
    """An order of pixels or images that is not the given one, and its inverse."""

    about: str
    cause: str
    forward: TensorTransform
    inverse: TensorTransform


def _scrambled(images: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    return images.reshape(n, height, width, channels).permute(0, 3, 1, 2)


def _scrambled_back(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).reshape(images.shape)


def _transposed(images: Tensor) -> Tensor:
    return images.transpose(2, 3) if images.shape[2] == images.shape[3] else images


def _symmetric(about: str, cause: str, transform: TensorTransform) -> Layout:
    return Layout(about, cause, transform, transform)


PIXEL_LAYOUTS = (
    _symmetric("the channels are reversed", "channel-order", lambda images: images.flip(1)),
    _symmetric("height and width are exchanged", "axis-scramble", _transposed),
    Layout("pixels change places by a reshape", "axis-scramble", _scrambled, _scrambled_back),
    Layout("pixels change places by a reshape", "axis-scramble", _scrambled_back, _scrambled),
    _symmetric("the images are mirrored", "axis-scramble", lambda images: images.flip(3)),
    _symmetric("the images are upside down", "axis-scramble", lambda images: images.flip(2)),
)
IMAGE_ORDERS = (
    Layout("each image is the one before", "misaligned-images", lambda x: x.roll(1, 0), lambda x: x.roll(-1, 0)),
    Layout("each image is the next one", "misaligned-images", lambda x: x.roll(-1, 0), lambda x: x.roll(1, 0)),
    _symmetric("the images are in reversed order", "misaligned-images", lambda images: images.flip(0)),
)


def _jpeg(quality: int) -> TensorTransform:
    def round_trip(images: Tensor) -> Tensor:
        levels = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return torch.stack([_jpeg_round_trip(image, quality) for image in levels]).float() / 255

    return round_trip


def _jpeg_round_trip(image: NDArray[np.uint8], quality: int) -> Tensor:
    stream = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(stream, "JPEG", quality=quality)
    with Image.open(stream, formats=["JPEG"]) as read:
        pixels = torch.from_numpy(np.array(read))
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def read_output(evidence: Evidence) -> StageResult:
    """Measure the output stage, and undo or note in the evidence what it does to the images."""
    response = evidence.get("size, tiny")
    if response is None:
        return unmeasured("output", "no images came back for the budget of 1e-6")
    if (found := _perturbation(evidence, response)) is not None:
        return found
    for layout in (*PIXEL_LAYOUTS, *IMAGE_ORDERS):
        if _is_layout(response, layout):
            evidence.undo(lambda images, _, inverse=layout.inverse: inverse(images))  # type: ignore[misc]
            return wrong("output", layout.cause, layout.about, EXPECTED)
    found = _affine(evidence, response) or _rounded(evidence, response) or _distorted(evidence, response)
    if found is not None:
        return found
    others = sorted({one.returned_dtype for one in evidence.responses.values()} - {"torch.float32", "float32"})
    return ok("output", "as given" + (f", as {', '.join(others)}" if others else ""), EXPECTED)


def _distance(images: Tensor | None, other: Tensor) -> float:
    return float((images - other).abs().median()) if images is not None else float("nan")


def _is_layout(response: Response, layout: Layout) -> bool:
    """Return True if the returned images are near to x in this layout, and not to x itself."""
    x = response.call.x
    changed = layout.forward(x)
    own = _distance(response.images, x)
    return own > 1e-3 and not torch.equal(changed, x) and _distance(response.images, changed) < own / 4


def _perturbation(evidence: Evidence, response: Response) -> StageResult | None:
    """Find perturbations that come back instead of images."""
    assert response.images is not None  # noqa: S101  (the caller has checked it)
    near_zero = float(response.images.abs().max()) < NEAR_ZERO < float(response.call.x.median())
    if not near_zero or not any(bool(one.images.any()) for one in evidence.responses.values() if one.images is not None):
        return None
    evidence.undo(lambda images, call: call.x + images)
    return wrong(
        "output", None, "the perturbation comes back, not the images", EXPECTED, "return x + perturbation, clipped to [0, 1]"
    )


def _affine(evidence: Evidence, response: Response) -> StageResult | None:
    """Find images that come back normalised, or in [0, 255]."""
    assert response.images is not None  # noqa: S101  (the caller has checked it)
    x, images = response.call.x.double(), response.images.double()
    centred, centred_images = (one - one.mean((0, 2, 3), keepdim=True) for one in (x, images))
    slope = (centred * centred_images).sum((0, 2, 3)) / centred.square().sum((0, 2, 3))
    residual = centred_images - slope.view(1, -1, 1, 1) * centred
    if float(residual.abs().median()) > 1e-3 * float(slope.abs().max()) or float((slope - 1).abs().max()) < 0.05:
        return None
    std, _mean = (one.double().flatten().expand(len(slope)) for one in (response.call.std, response.call.mean))
    if torch.allclose(slope, 1 / std, rtol=1e-3):
        evidence.rounding = 2e-6
        evidence.undo(lambda one, call: one * call.std + call.mean)
        return wrong(
            "output",
            "normalised-output",
            f"normalised images come back: {numbers_text(slope)} times the pixels",
            EXPECTED,
            slope=rounded(slope),
        )
    if abs(float(slope.mean()) - 255) < 1:
        evidence.rounding = 2e-6
        evidence.undo(lambda one, _: one / 255)
        return wrong("output", "scaled-output", "images in [0, 255] come back", EXPECTED, slope=rounded(slope))
    return None


def on_8_bit_grid(images: Tensor) -> float:
    """Return the share of the pixels that are multiples of 1/255."""
    levels = images * 255
    return float(((levels - levels.round()).abs() < GRID_WIDTH).float().mean())


def _rounded(evidence: Evidence, response: Response) -> StageResult | None:
    """Find pixels on the grid of 8 bits or of half precision."""
    images, x = response.images, response.call.x
    assert images is not None  # noqa: S101  (the caller has checked it)
    levels = torch.tensor(sorted(set(images[..., :-UNSEEN_COLUMNS].flatten().tolist())))
    if len(levels) <= MAX_LEVELS < images.numel() / 8:
        evidence.resolution = float((levels[1:] - levels[:-1]).median()) if len(levels) > 1 else 1.0
    on_grid = on_8_bit_grid(images)
    if evidence.resolution > 1.5 / 255:
        text = f"rounded to levels that are {evidence.resolution:.3g} apart"
        return wrong("output", "quantised-8bit", text, EXPECTED, step=rounded(evidence.resolution))
    if on_grid > MIN_SHARE and float((images - x).abs().max()) < 1.5 / 255:
        offset = float((images - x).mean()) * 255
        evidence.resolution = 1 / 255
        name, cause = ("truncated", "truncated-8bit") if abs(offset) > 0.25 else ("rounded", "quantised-8bit")
        text = f"{name} to 8 bits: {100 * on_grid:.1f} % of the pixels are multiples of 1/255, off by {offset:+.2f}/255 on average"
        return wrong("output", cause, text, EXPECTED, on_grid=rounded(on_grid), mean_offset=rounded(offset / 255))
    for dtype, resolution in ((torch.bfloat16, 2.0**-8), (torch.float16, 2.0**-11)):
        share = float((images.to(dtype).float() == images).float().mean())
        if share > MIN_SHARE:
            evidence.resolution = resolution
            text = f"{100 * share:.1f} % of the pixels are numbers of {str(dtype).removeprefix('torch.')}"
            return wrong("output", "half-precision", text, EXPECTED, share=rounded(share))
    return None


def _distorted(evidence: Evidence, response: Response) -> StageResult | None:
    """Find images that come back changed by far more than a budget of 1e-6, and not by one size."""
    images, x = response.images, response.call.x
    assert images is not None  # noqa: S101  (the caller has checked it)
    distance = (images - x).abs()
    typical = float(distance.median())
    if typical < 2e-5 or evidence.is_random:
        return None
    shares = [most_common_value(distance[n, c], 1e-2)[1] for n in range(len(x)) for c in range(x.shape[1])]
    if sum(shares) / len(shares) > 0.2:
        return None  # one size for all pixels: a matter of the size
    evidence.resolution = float(distance.flatten().quantile(0.99))
    formats: dict[str, tuple[str, TensorTransform]] = {
        **{f"compressed as JPEG of quality {q}": ("resized-or-jpeg", _jpeg(q)) for q in (50, 75, 80, 85, 90, 95, 100)},
        "of pixels rounded to 8 bits before the step": ("quantised-8bit", lambda one: (one * 255).round() / 255),
        "of pixels truncated to 8 bits before the step": ("truncated-8bit", lambda one: (one * 255).floor() / 255),
        "of pixels in float16": ("half-precision", lambda one: one.half().float()),
        "of pixels in bfloat16": ("half-precision", lambda one: one.bfloat16().float()),
    }
    near = min(formats, key=lambda name: _distance(images, formats[name][1](x)))
    cause: str | None = "resized-or-jpeg"
    about = "resized, blurred or compressed"
    if _distance(images, formats[near][1](x)) < typical / 4:
        cause, about = formats[near][0], near
    text = f"images {about}: they change by {typical:.3g} at a budget of 1e-6"
    return wrong("output", cause, text, EXPECTED, median_change=rounded(typical))
