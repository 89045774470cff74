"""Kept images as pictures of a page."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from robustbench_fgsm.report.loaded_run import ExampleImage
from robustbench_fgsm.report.pages.images import amplified_perturbation, data_url, draw_example, embed_images, to_uint8


def example(after: int, clean: float = 0.5, adversarial: float = 0.6) -> ExampleImage:
    before, attacked = (np.full((1, 4, 4), value, np.float32) for value in (clean, adversarial))
    return ExampleImage(0, 1, 1, after, 0.9, 0.8, 0.1, before, attacked)


def test_largest_change_is_black_or_white() -> None:
    np.testing.assert_allclose(amplified_perturbation(example(2)), 1.0)
    np.testing.assert_allclose(amplified_perturbation(example(2, 0.5, 0.4)), 0.0)
    np.testing.assert_allclose(amplified_perturbation(example(2, 0.5, 0.5)), 0.5)


@pytest.mark.parametrize(("side", "kind"), [(64, "PNG"), (65, "WEBP")])
def test_small_images_keep_every_pixel(side: int, kind: str) -> None:
    url = data_url(np.zeros((side, side, 3), np.uint8))
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).format == kind


@pytest.mark.parametrize(
    ("shape", "shown"), [((1, 2, 4), (2, 4)), ((2, 2, 4), (2, 4)), ((3, 2, 4), (2, 4, 3)), ((4, 2, 4), (2, 4, 3))]
)
def test_any_number_of_channels(shape: tuple[int, ...], shown: tuple[int, ...]) -> None:
    pixels = np.full(shape, 2.0, np.float32)
    assert to_uint8(pixels).shape == shown
    assert to_uint8(pixels).min() == 255


def test_limits_image_bytes() -> None:
    examples = [(0, example(after)) for after in (2, 2, 3)]
    shown, count = embed_images(examples)
    assert ([one["after"] for one in shown], count) == ([2, 3, 2], 3)
    size = sum(len(shown[0][name]) for name in ("clean", "perturbation", "adversarial"))
    some, count = embed_images(examples, max_bytes=2 * size)
    assert ([one["after"] for one in some], count) == ([2, 3], 3)


def test_fooled_images_come_first() -> None:
    shown, _ = embed_images([(0, example(after)) for after in (1, 2, 1, 3)])
    assert [one["after"] for one in shown] == [2, 3, 1, 1]


def other_example(clean: np.ndarray, change: float) -> ExampleImage:
    return ExampleImage(0, 1, 1, 2, 0.9, 0.8, 0.1, clean.astype(np.float32), (clean + change).astype(np.float32))


def test_a_volume_is_its_middle_slice() -> None:
    volume = np.zeros((1, 4, 2, 3))
    volume[0, 2] = 1
    assert (to_uint8(volume.astype(np.float32)) == 255).all()


def test_a_signal_is_a_line() -> None:
    """A step from 0 to 1 is the lowest row, a slope, and the highest row."""
    picture = to_uint8(np.array([[0, 0, 1, 1]], np.float32))
    assert picture.shape == (64, 192)
    drawn = [np.flatnonzero(column < 255) for column in picture.T]
    assert all(rows.tolist() == [63] for rows in drawn[:60])
    assert all(rows.tolist() == [0] for rows in drawn[-60:])
    assert all(np.diff([rows.mean() for rows in drawn]) <= 0)
    assert to_uint8(np.random.default_rng(0).random((2, 5000)).astype(np.float32)).shape == (64, 192)


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (255, 0), (2, -1)])
def test_other_bounds_have_the_same_pictures(scale: float, offset: float) -> None:
    clean = np.linspace(0, 1, 12).reshape(1, 3, 4)
    clean[0, 0, 0] = 0.1
    pictures = draw_example(other_example(clean * scale + offset, 0.0))
    plain = draw_example(other_example(clean, 0.0))
    if offset == 0:
        assert all((pictures[name] == plain[name]).all() for name in plain)
    assert pictures["clean"].max() == 255


def test_features_have_no_pictures() -> None:
    assert embed_images([(0, other_example(np.zeros(5), 0.1))]) == ([], 0)
