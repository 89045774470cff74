"""Some images of a data set: which they are, and that they stay what they are in the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import BadSample, Dataset
from robustbench_fgsm.data.subset import IdSubset, Subset, apportion, dataset_labels, first_images, sample_images
from robustbench_fgsm.errors import SettingError


def numbered(n: int, classes: int = 3) -> rf.ArrayDataset:
    """Images that show their own index."""
    images = torch.arange(n, dtype=torch.float32).reshape(n, 1, 1, 1) / 256
    return rf.ArrayDataset("numbered", images, torch.arange(n) % classes, tuple("abc"[:classes]))


class Foreign:
    """A data set of another package: batches from start to stop and no more, every seventh image bad."""

    name = "foreign"
    classes: tuple[str, ...] = ("a", "b", "c")
    fingerprint = "foreign"

    def __init__(self, n: int) -> None:
        self._whole = numbered(n)

    def __len__(self) -> int:
        return len(self._whole)

    def batches(self, start: int, stop: int, size: int) -> Iterator[rf.Batch]:
        for batch in self._whole.batches(start, stop, size):
            good = batch.ids % 7 != 3
            bad = tuple(BadSample(str(int(id_)), "seventh") for id_ in batch.ids[~good])
            yield rf.Batch(batch.images[good], batch.labels[good], batch.ids[good], bad)

    def __iter__(self) -> Iterator[rf.Batch]:
        return self.batches(0, len(self), 128)


@given(
    indices=st.lists(st.integers(0, 19), max_size=12, unique=True),
    start=st.integers(0, 12),
    stop=st.integers(0, 14),
    size=st.integers(1, 5),
)
def test_images_match_the_whole(indices: list[int], start: int, stop: int, size: int) -> None:
    for whole in (numbered(20), Subset(numbered(40), range(10, 30))):
        offset = 0 if isinstance(whole, rf.ArrayDataset) else 10
        batches = list(Subset(whole, indices).batches(start, stop, size))
        found = [int(id_) for batch in batches for id_ in batch.ids]
        assert found == [index + offset for index in indices[start:stop]]
        for batch in batches:
            assert torch.equal(batch.images.reshape(-1), batch.ids / 256)
            assert torch.equal(batch.labels, batch.ids % 3)
            assert 1 <= len(batch) <= size


def test_a_data_set_of_another_package() -> None:
    (batch,) = Subset(Foreign(12), [11, 3, 5]).batches(0, 3, 3)
    assert batch.ids.tolist() == [11, 5]
    assert [bad.path for bad in batch.bad] == ["3"]
    (empty,) = Subset(Foreign(12), [3]).batches(0, 1, 1)
    assert (len(empty), len(empty.bad)) == (0, 1)
    assert dataset_labels(Foreign(5)).tolist() == [0, 1, 2, -1, 1]


def test_file_images_match_the_whole(folder: Callable[..., Path]) -> None:
    whole = rf.load_data(f"folder:{folder(each=5)}")
    drawn = sample_images(whole, 4, seed=3)
    for batch in drawn:
        for row, id_ in enumerate(batch.ids.tolist()):
            (one,) = whole.batches(id_, id_ + 1, 1)
            assert torch.equal(one.images[0], batch.images[row])
            assert int(one.labels) == int(batch.labels[row])


def test_the_first_of_any_data() -> None:
    assert [len(first_images(Foreign(9), limit)) for limit in (None, 1, 9, 10)] == [9, 1, 9, 9]
    assert next(first_images(Foreign(9), 2).batches(0, 9, 9)).ids.tolist() == [0, 1]
    with pytest.raises(SettingError, match="limit must be at least 1"):
        first_images(Foreign(9), 0)


def test_a_sample_depends_on_the_seed() -> None:
    drawn = [sample_images(numbered(1000), 50, seed=seed) for seed in (1, 1, 2)]
    ids = [torch.cat([batch.ids for batch in data]).tolist() for data in drawn]
    assert ids[0] == ids[1] == sorted(set(ids[0])) != ids[2]
    assert drawn[0].fingerprint == drawn[1].fingerprint != drawn[2].fingerprint
    assert sample_images(numbered(5), 5, seed=1).fingerprint == numbered(5).fingerprint


def test_a_stratified_sample_keeps_the_shares() -> None:
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    data = rf.ArrayDataset("uneven", torch.rand(100, 1, 1, 1), labels, ("a", "b", "c"))
    drawn = sample_images(data, 10, seed=5, stratified=True)
    assert dataset_labels(drawn).bincount().tolist() == [7, 2, 1]


@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=6), part=st.integers(1, 100))
def test_shares_are_proportional(counts: list[int], part: int) -> None:
    size = max(1, sum(counts) * part // 100)
    dealt = apportion(counts, size)
    assert sum(dealt) == size
    exact = np.array(counts) * size / sum(counts)
    assert (np.abs(np.array(dealt) - exact) < 1).all()
    assert all(0 <= given <= count for given, count in zip(dealt, counts, strict=True))


def test_a_selection_keeps_the_data_order(images: rf.ArrayDataset) -> None:
    wanted = torch.tensor([200, 3, 131])
    selection = IdSubset(images, wanted)
    whole = next(images.batches(0, 256, 256))
    (batch,) = selection.batches(0, 3, 10)
    assert isinstance(selection, Dataset)
    assert (len(selection), selection.name, selection.classes) == (3, images.name, images.classes)
    assert batch.ids.tolist() == [3, 131, 200]
    assert torch.equal(batch.images, whole.images[[3, 131, 200]])
    assert torch.equal(batch.labels, whole.labels[[3, 131, 200]])


def test_batches_split_anywhere(images: rf.ArrayDataset) -> None:
    selection = IdSubset(images, torch.arange(0, 256, 5))
    assert torch.cat([batch.ids for batch in selection]).tolist() == list(range(0, 256, 5))
    assert [batch.ids.tolist() for batch in selection.batches(2, 7, 2)] == [[10, 15], [20, 25], [30]]


def test_fingerprint_depends_on_selected_images(images: rf.ArrayDataset) -> None:
    one, other = IdSubset(images, torch.tensor([1, 2])), IdSubset(images, torch.tensor([1, 3]))
    assert one.fingerprint == IdSubset(images.head(10), torch.tensor([2, 1])).fingerprint
    assert len({one.fingerprint, other.fingerprint, images.fingerprint}) == 3


def test_rejects_absent_ids(images: rf.ArrayDataset) -> None:
    assert len(IdSubset(images, torch.tensor([255, 256]))) == 1
    with pytest.raises(rf.DataError, match="got 256"):
        IdSubset(images, torch.tensor([256]))
