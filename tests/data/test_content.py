"""Test the hashes of images that are read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import robustbench_fgsm as rf
from robustbench_fgsm.data.content import describe_content, fingerprint_covers_images, hash_spans, image_path
from robustbench_fgsm.data.subset import Subset, sample_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 small images in two classes; one of them cannot be read."""
    random = np.random.default_rng(0)
    for number in range(20):
        place = tmp_path / "images" / "ab"[number % 2] / f"{number:02}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (6, 5, 3), np.uint8)).save(place)
    (tmp_path / "images" / "b" / "07.bmp").write_bytes(b"damaged")
    return tmp_path / "images"


def test_equal_those_of_the_first_reading(folder: Path) -> None:
    data = rf.load_data(f"folder:{folder}")
    for some in (data, sample_images(data, 9), Subset(data, [17, 3, 13, 4])):
        (batch,) = some.batches(0, len(some), len(some))
        assert batch.hashes is not None
        first = dict(zip(batch.ids.tolist(), batch.hashes.tolist(), strict=True))
        spans = [range(start, min(start + 3, len(some))) for start in range(0, len(some), 3)]
        parts = list(hash_spans(some, spans))
        assert [len(ids) for ids, _ in parts] == list(map(len, spans))
        again = dict(zip(*(np.concatenate(columns).tolist() for columns in zip(*parts, strict=True)), strict=True))
        assert {key: again[key] for key in first} == first
        assert sorted(again[key] for key in again.keys() - first.keys()) == sorted(sample.hash or 0 for sample in batch.bad)


def test_follow_batches_through_selections(folder: Path) -> None:
    (batch,) = rf.load_data(f"folder:{folder}").batches(0, 6, 6)
    assert batch.hashes is not None
    half, rest = batch.at(slice(2)), batch.at(slice(2, None))
    assert rf.Batch.concatenate([half, rest]).hashes is not None
    assert torch.equal(torch.cat([half.hashes, rest.hashes]), batch.hashes)  # type: ignore[list-item]


def test_content_of_files_is_described(folder: Path) -> None:
    before = describe_content(rf.load_data(f"folder:{folder}"))
    assert describe_content(rf.load_data(f"folder:{folder}")) == before != {}
    place = folder / "a" / "12.bmp"
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(content)
    changed = rf.load_data(f"folder:{folder}")
    assert describe_content(changed) != before
    assert image_path(sample_images(changed, 5), 6) == str(place)


def test_fingerprints_of_arrays_suffice(images: rf.ArrayDataset) -> None:
    assert fingerprint_covers_images(Subset(images, [3, 1]))
    assert describe_content(images) == {}
    assert image_path(images, 3) == "image 3"
