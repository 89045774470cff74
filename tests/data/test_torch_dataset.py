"""Torch data sets: samples of several forms, and what their attributes say of labels and classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Subset

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import first_readable_batch
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.torch_dataset import class_names_of, listed_labels, split_sample, torch_dataset_to_images
from robustbench_fgsm.errors import DataError

IMAGES = torch.rand(6, 3, 9, 10, generator=torch.Generator().manual_seed(0))


class Samples:
    """Samples that a function makes of an index."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


FORMS: dict[str, Callable[[int], Any]] = {
    "pair": lambda index: (IMAGES[index], index),
    "list": lambda index: [IMAGES[index], torch.tensor(index)],
    "array (C, H, W)": lambda index: (IMAGES[index].numpy(), np.int64(index)),
    "array (H, W, C)": lambda index: (IMAGES[index].permute(1, 2, 0).numpy(), float(index)),
    "tensor (H, W, C)": lambda index: (IMAGES[index].permute(1, 2, 0), np.array([index])),
    "mapping": lambda index: {"pixel_values": IMAGES[index], "label": index, "name": "some"},
    "index behind": lambda index: (IMAGES[index], 5 - index, index),
    "one-hot": lambda index: (IMAGES[index], torch.eye(6)[index]),
}


@pytest.mark.parametrize("form", FORMS)
def test_reads_every_form(form: str) -> None:
    batch = first_readable_batch(torch_dataset_to_images(Samples(FORMS[form]), "x", workers=0), 6)
    assert torch.equal(batch.images, IMAGES)
    assert batch.labels.tolist() == (batch.ids.flip(0) if form == "index behind" else batch.ids).tolist()


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ((IMAGES[0], 1, 2, 3), "must be .image, label., got 4 values"),
        ((IMAGES[0], 1, 5), "got 3 values .Tensor, int, int.: return image and label alone"),
        ({"image": 1, "x": 2, "label": 3}, "got image, x, label: return a pair, or pass load_data"),
        ({"fine_label": 1, "img": 2}, "got fine_label, img"),
        (IMAGES[0], "got Tensor: return image and label"),
    ],
)
def test_refuses_other_samples(sample: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_sample(sample, "each sample", 0)


def test_an_error_of_any_type_makes_a_sample_unreadable() -> None:
    class OwnError(Exception):
        pass

    def make(index: int) -> Any:
        if index == 2:
            raise OwnError("gone")
        return IMAGES[index], index

    data = torch_dataset_to_images(Samples(make), "x", workers=0)
    (batch,) = data.batches(0, 6, 6)
    (reason,) = [bad.reason for bad in batch.bad]
    assert reason.startswith("the data set must return a sample, it raised OwnError: gone (test_torch_dataset.py:")
    assert data.labels.tolist() == [0, 1, -1, 3, 4, 5]


def test_labels_behind_a_transform_are_read() -> None:
    """A data set's `targets` are its labels only if nothing changes them afterwards."""
    data = Samples(lambda index: (IMAGES[index], 5 - index))
    data.targets = list(range(6))  # type: ignore[attr-defined]
    assert listed_labels(data) == [0, 1, 2, 3, 4, 5]
    data.target_transform = lambda label: 5 - label  # type: ignore[attr-defined]
    assert listed_labels(data) is None
    assert torch_dataset_to_images(data, "x", workers=0).labels.tolist() == [5, 4, 3, 2, 1, 0]


def test_class_names_of_the_data_set_below() -> None:
    data = Samples(FORMS["pair"])
    assert class_names_of(data) == ()
    data.classes = ["a", "b", "c", "d", "e", ("f", "g")]  # type: ignore[attr-defined]
    assert class_names_of(Subset(data, [3, 1])) == ("a", "b", "c", "d", "e", "f")  # type: ignore[arg-type]


ROWS = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]])


def multi_label(make: Callable[[int], Any] = lambda index: (IMAGES[index], ROWS[index])) -> ImageDataset:
    return torch_dataset_to_images(Samples(make), "x", workers=0, task="multilabel")


@pytest.mark.parametrize("form", [lambda row: row, lambda row: row.float(), lambda row: row.tolist(), lambda row: row.numpy() == 1])
def test_reads_multi_hot_labels(form: Callable[[torch.Tensor], Any]) -> None:
    data = multi_label(lambda index: {"image": IMAGES[index], "labels": form(ROWS[index])})
    assert (data.task, data.classes, data.knows_labels) == ("multilabel", ("0", "1", "2"), False)
    assert torch.equal(next(data.batches(0, 6, 6)).labels, ROWS)
    assert torch.equal(data.labels, ROWS)


def test_other_labels_make_a_sample_unreadable() -> None:
    odd = {0: 1, 2: torch.tensor([1, 0]), 4: torch.tensor([2, 0, 0])}
    data = multi_label(lambda index: (IMAGES[index], odd.get(index, ROWS[index])))
    batch = next(data.batches(0, 6, 6))
    assert (batch.ids.tolist(), batch.labels.tolist()) == ([1, 3, 5], ROWS[[1, 3, 5]].tolist())
    assert [one.reason.partition(", ")[0] for one in batch.bad][1] == "2 labels in place of 3"
    none = next(data.batches(0, 1, 1))
    assert none.labels.shape == (0, 3)
    with pytest.raises(DataError, match="the sample must have multi-hot labels"):
        multi_label(lambda index: (IMAGES[index], index))


def test_targets_of_several_labels_are_no_list_of_classes() -> None:
    data = Samples(lambda index: (IMAGES[index], ROWS[index]))
    data.targets = ROWS  # type: ignore[attr-defined]
    assert listed_labels(data) is None
    assert class_names_of(data, "multilabel") == ()


def test_a_later_label_that_the_classifier_has_not_stops_the_run() -> None:
    """The preflight looks at 32 images; the label of image 301 is out of range."""
    x, y = torch.rand(400, 4, generator=torch.Generator().manual_seed(0)), torch.arange(400) % 3
    network, labels = nn.Linear(4, 3), y.clone()

    class Table(Samples):
        def __len__(self) -> int:
            return 400

    data = Table(lambda index: (x[index], int(labels[index])))
    labels[301] = 7
    with pytest.raises(DataError, match=r"labels must lie in \[0, 3\), got 7 for an image: choose a model of more classes"):
        rf.evaluate(network, data, 0.1)
    labels[301] = 3
    with pytest.raises(DataError, match="if they count classes from 1, pass --labels-from 1"):
        rf.evaluate(network, data, 0.1)
    labels[301] = 0
    assert rf.evaluate(network, data, 0.1).n == 400
