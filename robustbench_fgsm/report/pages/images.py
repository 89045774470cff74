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

MAX_PNG_SIDE = 64
"""Most pixels on the longer side of a PNG; larger pictures are WebP, which takes a tenth of the bytes."""


def embed_images(
    examples: Iterable[tuple[int, ExampleImage]], *, max_bytes: int = MAX_PAGE_IMAGE_BYTES
) -> tuple[list[dict[str, Any]], int]:
    """Return pictures of examples, in turns from each kind of outcome up to a number of bytes, and the count of examples.

    Args:
        examples: the index of an attack on the page, and an example image of it.
        max_bytes: most bytes of all pictures together.
    """
    examples = list(examples)
    shown: list[dict[str, Any]] = []
    size = 0
    for subject, image in _interleave_outcomes(examples):
        picture = _image_to_dict(subject, image)
        size += sum(len(picture[name]) for name in ("clean", "perturbation", "adversarial"))
        if size > max_bytes:
            break
        shown.append(picture)
    return sorted(shown, key=lambda one: (one["subject"], one["epsilon"], one["label"], one["after"], one["id"])), len(examples)


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
        "clean": data_url(image.clean),
        "perturbation": data_url(amplified_perturbation(image)),
        "adversarial": data_url(image.adversarial),
    }


def amplified_perturbation(image: ExampleImage) -> ImageArray:
    """Return the perturbation (C, H, W) in [0, 1]: grey for no change, black or white for the largest change."""
    moved = image.adversarial - image.clean
    largest = float(np.abs(moved).max(initial=0.0)) or 1.0
    return (0.5 + moved / (2 * largest)).astype(np.float32)


def data_url(pixels: ImageArray) -> str:
    """Return an image (C, H, W) as a `data:` URL: PNG up to 64 pixels, WebP above."""
    picture = Image.fromarray(to_uint8(pixels))
    stream = io.BytesIO()
    if max(picture.size) <= MAX_PNG_SIDE:
        picture.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(stream, "WEBP", quality=70, method=4)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def to_uint8(pixels: ImageArray) -> NDArray[np.uint8]:
    """Return 8-bit pixels: (H, W) of one channel, else (H, W, 3) of the first three; values are clipped to [0, 1]."""
    values = np.round(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    if values.ndim == 1:  # flat images: a strip
        return values[None, :]
    if len(values) < 3:
        return np.ascontiguousarray(values[0])
    return np.ascontiguousarray(values[:3].transpose(1, 2, 0))
