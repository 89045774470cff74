"""Images in memory: what is taken, what is refused, and that ids and bytes do not depend on how they are fetched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import describe_data
from robustbench_fgsm.errors import DataError, SettingError

CLASSES = ("cat", "dog")
LABELS = torch.tensor([0, 1, 1])


def made_of(images: Tensor, labels: Tensor = LABELS, classes: tuple[str, ...] = CLASSES) -> rf.ArrayDataset:
    return rf.ArrayDataset("some", images, labels, classes)


def test_bytes_become_shares_of_255() -> None:
    (batch,) = made_of(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1))
    assert torch.equal(batch.images, torch.tensor([0.0, 51 / 255, 1.0]).reshape(3, 1, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_floating_point_stays_in_pixel_space(dtype: torch.dtype) -> None:
    (batch,) = made_of(torch.full((3, 2, 1, 1), 0.5, dtype=dtype))
    assert torch.equal(batch.images, torch.full((3, 2, 1, 1), 0.5))


def test_labels_are_int64_and_ids_count() -> None:
    (batch,) = made_of(torch.rand(3, 4, 4), LABELS.to(torch.uint8))
    assert (batch.labels.tolist(), batch.labels.dtype) == ([0, 1, 1], torch.int64)
    assert (batch.ids.tolist(), batch.ids.dtype) == ([0, 1, 2], torch.int64)
    assert len(batch) == 3


def test_fetched_images_are_copies() -> None:
    data = made_of(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    next(iter(data)).images.fill_(1)
    assert not next(iter(data)).images.any()


@pytest.mark.parametrize(
    ("images", "labels"),
    [(torch.rand(3), LABELS), (torch.rand(4, 4, 4), LABELS), (torch.rand(3, 4, 4), torch.tensor([], dtype=torch.int64))],
)
def test_rejects_misshapen_arrays(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(DataError, match=r"must be images \(N, C, H, W\) and labels \(N,\), got"):
        made_of(images, labels)


@pytest.mark.parametrize("label", [2, 255])
def test_labels_without_a_class_are_refused(label: int) -> None:
    with pytest.raises(DataError, match=r"labels must lie in \[0, 2\).*: name every class"):
        made_of(torch.rand(3, 4, 4), torch.tensor([0, 1, label]))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
def test_images_of_another_type_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(DataError, match=r"images must be uint8 or floating point in pixel space, got (int|bool)"):
        made_of(torch.zeros(3, 4, 4, dtype=dtype))


@given(n=st.integers(1, 12), start=st.integers(0, 14), stop=st.integers(0, 14), size=st.integers(1, 5))
def test_batches_keep_the_order(n: int, start: int, stop: int, size: int) -> None:
    images = torch.arange(n, dtype=torch.float32).reshape(n, 1, 1, 1) / 16
    batches = list(made_of(images, torch.arange(n) % 2).batches(start, stop, size))
    ids = [int(id_) for batch in batches for id_ in batch.ids]
    assert ids == list(range(start, min(stop, n)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert all(torch.equal(batch.images, images[batch.ids]) for batch in batches)
    assert all(torch.equal(batch.labels, batch.ids % 2) for batch in batches)


def test_fingerprint_depends_on_the_data() -> None:
    images = torch.rand(3, 1, 4, 4)
    assert made_of(images).fingerprint == made_of(images.clone(), LABELS.to(torch.int32)).fingerprint
    assert made_of(images).fingerprint == rf.ArrayDataset("another name", images, LABELS, CLASSES).fingerprint


@pytest.mark.parametrize("what", ["one pixel", "one label", "class name", "shape", "type", "order"])
def test_any_change_changes_the_fingerprint(what: str) -> None:
    images, labels, classes = torch.zeros(3, 1, 4, 4), LABELS.clone(), CLASSES
    images[0, 0, 0, 0] = 0.5
    before = made_of(images.clone(), labels.clone()).fingerprint
    match what:
        case "one pixel":
            images[2, 0, 3, 3] = 1e-7
        case "one label":
            labels[0] = 1
        case "class name":
            classes = ("cat", "dogs")
        case "shape":
            images = images.reshape(3, 1, 2, 8)
        case "type":
            images = images.double()
        case "order":
            images = images.flip(0)
    assert made_of(images, labels, classes).fingerprint != before


def test_the_first_few_images() -> None:
    data = made_of(torch.rand(3, 1, 4, 4))
    assert data.head(None) is data
    assert [len(data.head(limit)) for limit in (1, 2, 3, 4, 10**20)] == [1, 2, 3, 3, 3]
    assert torch.equal(next(iter(data.head(2))).images, next(iter(data)).images[:2])
    assert data.head(2).fingerprint != data.fingerprint


@pytest.mark.parametrize("limit", [0, -1])
def test_rejects_a_limit_below_one(limit: int) -> None:
    with pytest.raises(SettingError, match=f"limit must be at least 1, got {limit}: leave it out"):
        made_of(torch.rand(3, 1, 4, 4)).head(limit)


def test_data_as_json() -> None:
    data = made_of(torch.rand(3, 1, 4, 4))
    assert isinstance(data, rf.Dataset)
    assert describe_data(data) == {"spec": "some", "n": 3, "fingerprint": data.fingerprint, "classes": ["cat", "dog"]}
