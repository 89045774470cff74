"""Example images as pictures of a page: clean, perturbation amplified, adversarial, within a number of bytes."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_fgsm.report.loaded_run import ExampleImage, ImageArray

MAX_PAGE_IMAGE_BYTES = 3_000_000
"""Most bytes of all pictures of a page together, so that it can be sent by e-mail."""

MAX_LEVEL = 255
SIGNAL_PICTURE_SIZE = (64, 192)
"""Height and width of the picture of a signal."""

MAX_PNG_SIDE = 64
"""Most pixels on the longer side of a PNG; larger pictures are WebP, which takes a tenth of the bytes."""


def embed_images(
    examples: Iterable[tuple[int, ExampleImage]], *, max_bytes: int = MAX_PAGE_IMAGE_BYTES
) -> tuple[list[dict[str, Any]], int]:
    """Return pictures of examples, images that were fooled first, up to a number of bytes, and the count of examples.

    They come in turns from each kind of outcome.

    Features have no pictures: they are no examples of a page.

    Args:
        examples: the index of an attack on the page, and an example image of it.
        max_bytes: most bytes of all pictures together.
    """
    examples = [(subject, image) for subject, image in examples if has_picture(image)]
    shown: list[dict[str, Any]] = []
    size = 0
    for subject, image in _interleave_outcomes(examples):
        picture = _image_to_dict(subject, image)
        size += sum(len(picture[name]) for name in ("clean", "perturbation", "adversarial"))
        if size > max_bytes:
            break
        shown.append(picture)
    return sorted(shown, key=lambda one: (one["subject"], one["epsilon"], one["before"] == one["after"])), len(examples)


def _interleave_outcomes(kept: Sequence[tuple[int, ExampleImage]]) -> Iterator[tuple[int, ExampleImage]]:
    """Return the first example of each cell of each matrix, then the second of each, and so on."""
    cells: dict[tuple[int, float, int, int], list[tuple[int, ExampleImage]]] = defaultdict(list)
    for subject, image in kept:
        cells[subject, image.epsilon, image.label, image.prediction_after].append((subject, image))
    return (one for one in chain.from_iterable(zip_longest(*cells.values())) if one is not None)


def _image_to_dict(subject: int, image: ExampleImage) -> dict[str, Any]:
    return {
        "subject": subject,
        "id": image.id,
        "epsilon": image.epsilon,
        "label": image.label,
        "before": image.prediction_before,
        "after": image.prediction_after,
        "confidence_before": image.confidence_before,
        "confidence_after": image.confidence_after,
    } | {name: data_url(picture) for name, picture in draw_example(image).items()}


def has_picture(image: ExampleImage) -> bool:
    """Return True for images, signals and volumes; False for features, whose order means nothing."""
    return image.clean.ndim > 1


def draw_example(image: ExampleImage) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures of one example: `clean`, `perturbation`, amplified, and `adversarial`, both in one scale."""
    low, high = _value_range(image)
    pictures = {"clean": (image.clean - low) / (high - low), "perturbation": amplified_perturbation(image)}
    return {
        name: to_uint8(values) for name, values in (pictures | {"adversarial": (image.adversarial - low) / (high - low)}).items()
    }


def _value_range(image: ExampleImage) -> tuple[float, float]:
    """Return the values that are black and white: the range of pixels or levels, or else the example's own range."""
    low, high = (float(function([image.clean, image.adversarial])) for function in (np.nanmin, np.nanmax))
    if low >= 0 and high <= MAX_LEVEL:
        return (0.0, 1.0) if high <= 1 else (0.0, float(MAX_LEVEL))
    return (low, high) if low < high else (low, low + 1)


def amplified_perturbation(image: ExampleImage) -> ImageArray:
    """Return the perturbation (C, H, W) in [0, 1]: grey for no change, black or white for the largest change."""
    moved = image.adversarial - image.clean
    largest = float(np.abs(moved).max(initial=0.0)) or 1.0
    return (0.5 + moved / (2 * largest)).astype(np.float32)


def data_url(pixels: NDArray[np.uint8]) -> str:
    """Return 8-bit pixels (H, W) or (H, W, 3) as a `data:` URL: PNG up to 64 pixels, WebP above."""
    picture = Image.fromarray(pixels)
    stream = io.BytesIO()
    if max(picture.size) <= MAX_PNG_SIDE:
        picture.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(stream, "WEBP", quality=70, method=4)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def to_uint8(pixels: ImageArray) -> NDArray[np.uint8]:
    """Return 8-bit pixels: (H, W) of one channel, else (H, W, 3) of the first three; values are clipped to [0, 1].

    pixels: an image (C, H, W); a signal (C, L), drawn as lines; or a volume (C, D, H, W), of which the middle slice is drawn.
    """
    if pixels.ndim == 2:
        return _draw_lines(np.clip(np.nan_to_num(pixels), 0, 1))
    if pixels.ndim == 4:
        pixels = pixels[:, pixels.shape[1] // 2]
    values = np.round(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    if len(values) < 3:
        return np.ascontiguousarray(values[0])
    return np.ascontiguousarray(values[:3].transpose(1, 2, 0))


def _draw_lines(signal: ImageArray) -> NDArray[np.uint8]:
    """Return a picture (H, W) of a signal (C, L) in [0, 1]: one line for each channel, in different greys on white."""
    height, width = SIGNAL_PICTURE_SIZE
    channels, length = signal.shape
    if 1 < length < width:  # slopes between few steps
        places, length = np.linspace(0, length - 1, width), width
        signal = np.stack([np.interp(places, np.arange(len(line)), line) for line in signal])
    columns = np.array_split(np.arange(length), min(length, width))
    picture = np.full((height, len(columns)), 255, dtype=np.uint8)
    for channel in reversed(range(channels)):
        rows = np.rint((1 - signal[channel]) * (height - 1)).astype(int)
        for place, steps in enumerate(columns):
            covered = rows[max(steps[0] - 1, 0) : steps[-1] + 1]
            picture[covered.min() : covered.max() + 1, place] = 160 * channel // channels
    return picture
