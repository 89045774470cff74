"""Data that a Python program holds: every form gives the same images, labels and ids, or one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, WeightedRandomSampler
from torchvision.transforms.functional import to_pil_image

import robustbench_fgsm as rf
from robustbench_fgsm.data import memory, python_objects
from robustbench_fgsm.data.load import as_dataset
from robustbench_fgsm.errors import DataError, ResourceError

X = torch.randint(0, 256, (20, 3, 9, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).float() / 255
Y = torch.arange(20) % 4


class Pairs(Dataset[Any]):
    """Torch data set with random access."""

    classes = ("a", "b", "c", "d")

    def __init__(self, make: Callable[[int], Any] = lambda index: (X[index], int(Y[index]))) -> None:
        self.make = make

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


class Stream(IterableDataset[Any]):
    """Torch data set without random access."""

    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, Y, strict=True))


def named(index: int) -> dict[str, Any]:
    return {"img": X[index], "label": Y[index]}


def stack(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {"x": torch.stack([s["img"] for s in samples]), "labels": torch.stack([s["label"] for s in samples])}


FORMS: dict[str, Callable[[], Any]] = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "bytes, channels last": lambda: ((X * 255).round().byte().permute(0, 2, 3, 1).numpy(), Y.tolist()),
    "mapping": lambda: {"images": X, "labels": Y},
    "list of pairs": lambda: list(zip(X, Y, strict=True)),
    "TensorDataset": lambda: TensorDataset(X, Y),
    "data set": Pairs,
    "subset": lambda: Subset(Pairs(), range(20)),
    "Pillow images": lambda: Pairs(lambda index: (to_pil_image(X[index]), int(Y[index]))),
    "loader": lambda: DataLoader(Pairs(), batch_size=6),
    "shuffling loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=True),
    "loader with workers": lambda: DataLoader(Pairs(), batch_size=6, shuffle=True, num_workers=1),
    "loader with a collate function": lambda: DataLoader(Pairs(named), batch_size=6, collate_fn=stack),
    "stream": Stream,
    "loader of a stream": lambda: DataLoader(Stream(), batch_size=7),
    "loader without batches": lambda: DataLoader(Pairs(), batch_size=None),
    "generator of batches": lambda: ((X[low : low + 5], Y[low : low + 5]) for low in range(0, 20, 5)),
    "generator of samples": lambda: ((image, label) for image, label in zip(X, Y, strict=True)),
}


def table() -> Any:
    """Table of Hugging Face's `datasets`, with names of the classes."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcd"))})
    images = [to_pil_image(image) for image in X]
    return datasets.Dataset.from_dict({"image": images, "label": Y.tolist()}, features=features)


FORMS |= {
    "Hugging Face table": table,
    "Hugging Face table of tensors": lambda: table().with_format("torch"),
    "Hugging Face stream": lambda: table().to_iterable_dataset(),
}


def read(data: rf.Dataset) -> rf.Batch:
    return rf.Batch.concatenate(list(data.batches(0, len(data), 6)))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples(form: str) -> None:
    before = torch.get_rng_state()
    data = as_dataset(FORMS[form]())
    assert torch.equal(before, torch.get_rng_state())
    for _ in range(2):  # a second pass gives the same order
        batch = read(data)
        assert torch.equal(batch.images, X)
        assert torch.equal(batch.labels, Y)
        assert batch.ids.tolist() == list(range(20))


def test_keys_of_a_table_may_be_named() -> None:
    renamed = table().rename_column("label", "fine_label").add_column("coarse_label", [0] * 20)
    with pytest.raises(DataError, match=r"got image, fine_label, coarse_label: .*labels_key="):
        rf.evaluate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(216, 4)), renamed)
    assert torch.equal(read(rf.load_data(renamed, labels_key="fine_label")).labels, Y)


def test_tables_of_pandas() -> None:
    frame = pd.DataFrame({"a": [0.25, 0.5], "b": [0.75, 1.0], "label": ["x", "y"]})
    data = as_dataset((frame[["a", "b"]], frame["label"]))
    assert (data.classes, read(data).images.tolist()) == (("x", "y"), [[0.25, 0.75], [0.5, 1.0]])


def test_class_names() -> None:
    assert as_dataset(table()).classes == ("a", "b", "c", "d")
    assert as_dataset(DataLoader(Subset(Pairs(), [3, 1]), batch_size=2)).classes == Pairs.classes
    assert as_dataset((X, Y)).classes == ("0", "1", "2", "3")


def test_a_loader_that_drops_images_keeps_ids() -> None:
    with pytest.warns(RuntimeWarning, match="leaves out 4 of 20 images: pass drop_last=False to use all"):
        data = as_dataset(DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True, drop_last=True))
    batch = read(data)
    assert len(set(batch.ids.tolist())) == len(batch) == 16
    assert torch.equal(batch.images, X[batch.ids])
    assert torch.equal(batch.labels, Y[batch.ids])
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True, drop_last=True, generator=generator)
    before = generator.get_state()
    with pytest.warns(RuntimeWarning, match="leaves out 4 of 20"):
        assert read(as_dataset(loader)).ids.tolist() == read(as_dataset(loader)).ids.tolist()
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("labels", [torch.eye(4)[Y], Y.float(), Y[:, None], Y.to(torch.uint8)])
def test_labels_in_other_forms(labels: torch.Tensor) -> None:
    for data in ((X, labels), DataLoader(TensorDataset(X, labels)), Pairs(lambda index: (X[index], labels[index]))):
        assert torch.equal(read(as_dataset(data)).labels, Y)


def test_options_of_load_data() -> None:
    assert len(rf.load_data((X, Y), limit=3)) == 3
    assert next(iter(rf.load_data((X.numpy(), Y), layout="NHWC"))).images.shape == (20, 8, 3, 9)
    assert torch.equal(read(rf.load_data((X, Y + 1), labels_from=1)).labels, Y)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: None, "data must be a Dataset, a DataLoader, .*, got NoneType"),
        (lambda: X, "got Tensor"),
        (lambda: (X, Y[:3]), r"got \(20, 3, 9, 8\) and \(3,\): pass one label"),
        (lambda: (X, Y + 0.5), "got 0.5 at image 0"),
        (lambda: {"a": X, "b": Y}, "must hold images and labels"),
        (lambda: datasets.DatasetDict(test=table(), train=table()), r"several splits, got test, train: .* such as data\['test'\]"),
        (lambda: pd.DataFrame({"a": [0.5], "label": [0]}), "must be split into features and labels"),
        (lambda: iter(()), "an iterator yields its images only once"),
        (lambda: iter([(X[0], 0), (X[0, :, 1:], 0)]), "images of one shape"),
        (lambda: iter([X[0]]), "must be .image, label., got Tensor"),
        (lambda: iter([("text", 0)]), "images must be Pillow images"),
        (
            lambda: DataLoader(TensorDataset(X, Y), sampler=WeightedRandomSampler([1.0] * 20, 40)),
            "WeightedRandomSampler. drew image .* twice: pass loader.dataset",
        ),
    ],
)
def test_refuses_other_objects(data: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_dataset(data())


def test_an_endless_stream_needs_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever() -> Iterator[Any]:
        while True:
            yield X[0], 0

    monkeypatch.setattr(python_objects, "MEMORY_STEP", 0)
    monkeypatch.setattr(memory, "free_memory", lambda: 10 * X[0].nbytes)
    with pytest.raises(ResourceError, match=r"must fit into memory .*load_data\(data, limit=N\)"):
        as_dataset(forever())
    assert len(rf.load_data(forever(), limit=3)) == 3


def test_two_samples_are_no_pair_of_arrays() -> None:
    assert read(as_dataset([(X[0], 0), (X[1], 1)])).labels.tolist() == [0, 1]
    assert np.allclose(read(as_dataset([X[:2], Y[:2]])).images, X[:2])


def test_a_one_hot_row_is_the_label_of_one_image_of_as_many_channels() -> None:
    data = rf.load_data(iter([(image, torch.eye(3)[int(label) % 3]) for image, label in zip(X, Y, strict=True)]))
    batch = next(data.batches(0, 20, 20))
    assert torch.equal(batch.images, X)
    assert torch.equal(batch.labels, Y % 3)
