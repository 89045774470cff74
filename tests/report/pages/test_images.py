"""Kept images as pictures of a page."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from robustbench_fgsm.report.loaded_run import ExampleImage
from robustbench_fgsm.report.pages.images import amplified_perturbation, data_url, embed_images, to_uint8


def example(after: int, clean: float = 0.5, adversarial: float = 0.6) -> ExampleImage:
    before, attacked = (np.full((1, 4, 4), value, np.float32) for value in (clean, adversarial))
    return ExampleImage(0, 1, 1, after, 0.9, 0.8, 0.1, before, attacked)


def test_largest_change_is_black_or_white() -> None:
    np.testing.assert_allclose(amplified_perturbation(example(2)), 1.0)
    np.testing.assert_allclose(amplified_perturbation(example(2, 0.5, 0.4)), 0.0)
    np.testing.assert_allclose(amplified_perturbation(example(2, 0.5, 0.5)), 0.5)


@pytest.mark.parametrize(("side", "kind"), [(64, "PNG"), (65, "WEBP")])
def test_small_images_keep_every_pixel(side: int, kind: str) -> None:
    url = data_url(np.zeros((3, side, side), np.float32))
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).format == kind


@pytest.mark.parametrize(
    ("shape", "shown"), [((4,), (1, 4)), ((1, 2, 4), (2, 4)), ((2, 2, 4), (2, 4)), ((3, 2, 4), (2, 4, 3)), ((4, 2, 4), (2, 4, 3))]
)
def test_any_number_of_channels(shape: tuple[int, ...], shown: tuple[int, ...]) -> None:
    pixels = np.full(shape, 2.0, np.float32)
    assert to_uint8(pixels).shape == shown
    assert to_uint8(pixels).min() == 255


def test_limits_image_bytes() -> None:
    examples = [(0, example(after)) for after in (2, 2, 3)]
    shown, count = embed_images(examples)
    assert ([one["after"] for one in shown], count) == ([2, 2, 3], 3)
    size = sum(len(shown[0][name]) for name in ("clean", "perturbation", "adversarial"))
    some, count = embed_images(examples, max_bytes=2 * size)
    assert ([one["after"] for one in some], count) == ([2, 3], 3)
