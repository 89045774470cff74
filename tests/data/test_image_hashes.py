"""Test hashes of single images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xxhash
from PIL import Image

from robustbench_fgsm.data.image_hashes import UNREAD_HASH, hash_pixels, hash_sample


def test_hash_of_a_file_is_that_of_its_bytes() -> None:
    expected = xxhash.xxh3_64_intdigest(b"3" + b"content")
    assert hash_sample(b"content", 3) % 2**64 == expected
    assert -(2**63) <= hash_sample(b"content", 3) < 2**63


@pytest.mark.parametrize("kind", ["bytes", "tensor", "array", "image"])
def test_any_pixel_and_the_label_count(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)

    def convert(changed: np.ndarray) -> object:
        made = {"bytes": bytes, "tensor": torch.from_numpy, "array": np.asarray, "image": Image.fromarray}
        return made[kind](changed.transpose(2, 0, 1).copy() if kind == "tensor" else changed)  # type: ignore[operator]

    before = hash_sample(convert(pixels), 1)
    assert hash_sample(convert(pixels), 1) == before
    hashes = {before, hash_sample(convert(pixels), 2)}
    for place in np.ndindex(pixels.shape):
        changed = pixels.copy()
        changed[place] ^= 1
        hashes.add(hash_sample(convert(changed), 1))
    assert len(hashes) == 2 + pixels.size


def test_no_image_has_the_hash_of_an_unread_one() -> None:
    assert hash_sample([object()], 1) == UNREAD_HASH


def test_hashes_rows_alone() -> None:
    images = torch.rand(4, 3, 5, 6)
    found = hash_pixels(images)
    assert (found.shape, found.dtype, len(set(found.tolist()))) == ((4,), torch.int64, 4)
    assert torch.equal(hash_pixels(images[2:]), found[2:])
    assert not torch.equal(hash_pixels(images.reshape(4, 3, 6, 5)), found)
    assert not torch.equal(hash_pixels(images.double()), found)
