"""Images selected from a data set keep their ids, their order and their bytes."""

from __future__ import annotations

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.subset import IdSubset


def test_a_selection_has_the_images_of_its_ids_in_the_order_of_the_data(images: rf.ArrayDataset) -> None:
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


def test_the_fingerprint_is_that_of_the_selected_images(images: rf.ArrayDataset) -> None:
    one, other = IdSubset(images, torch.tensor([1, 2])), IdSubset(images, torch.tensor([1, 3]))
    assert one.fingerprint == IdSubset(images.head(10), torch.tensor([2, 1])).fingerprint
    assert len({one.fingerprint, other.fingerprint, images.fingerprint}) == 3


def test_ids_that_the_data_do_not_have(images: rf.ArrayDataset) -> None:
    assert len(IdSubset(images, torch.tensor([255, 256]))) == 1
    with pytest.raises(rf.DataError, match="got 256"):
        IdSubset(images, torch.tensor([256]))
