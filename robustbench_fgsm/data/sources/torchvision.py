"""Data sets that torchvision downloads and reads, by their names there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision import datasets

from robustbench_fgsm.data.class_names import numbers
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import DataOptions, Source
from robustbench_fgsm.data.sources.image_files import FilesSource
from robustbench_fgsm.errors import DataError

TRAIN_OR_TEST: Mapping[str, Mapping[str, Any]] = {"test": {"train": False}, "train": {"train": True}}


def _splits(*names: str) -> Mapping[str, Mapping[str, Any]]:
    return {name: {"split": name} for name in names}


@dataclass(frozen=True)
class TorchvisionSet:
    """How torchvision makes one data set.

    make: its class there. splits: arguments for each split, the default first. place: what lies in the root when it is
    there. classes: their number, where they have no names.
    """

    name: str
    make: Callable[..., Any]
    splits: Mapping[str, Mapping[str, Any]]
    place: str
    summary: str
    classes: int | None = None

    def open(self, options: DataOptions) -> Any:
        """Torchvision's own data set; raises DataError where it is not there and SettingError for an unknown split."""
        chosen = self.splits[options.one_of(self.name, tuple(self.splits))]
        try:
            return self.make(str(options.root), download=options.download, **chosen)
        except (RuntimeError, OSError, ValueError) as error:
            where = f"must be in {options.root}, where torchvision keeps it as {self.place}"
            remedy = "check the network" if options.download else "pass --download, or --data-root DIR"
            raise DataError(f"{self.name} {where}, got {str(error).splitlines()[0]}: {remedy}") from error

    def source(self, load: Callable[[TorchvisionSet, DataOptions], Dataset]) -> Source:
        """Where it stands among the sources."""
        return Source(
            self.name,
            self.summary,
            lambda _, options: load(self, options),
            present=lambda root: (root / self.place).exists(),
        )


def load_array(kind: TorchvisionSet, options: DataOptions) -> ArrayDataset:
    """A data set that torchvision holds as one array of bytes."""
    found = kind.open(options)
    images = torch.as_tensor(np.asarray(found.data))
    if images.ndim == 4 and images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(np.asarray(found.targets if hasattr(found, "targets") else found.labels))
    return ArrayDataset(kind.name, images, labels.to(torch.int64), _class_names(kind, found))


def load_files(kind: TorchvisionSet, options: DataOptions) -> ImageDataset:
    """A data set that torchvision knows as a list of image files."""
    found, place = kind.open(options), options.root / kind.place
    paths, labels = _listed(found)
    relative = [os.path.relpath(path, place) for path in paths]
    return ImageDataset(
        kind.name, FilesSource(place, relative, labels), _class_names(kind, found), workers=options.workers
    )


def _listed(found: Any) -> tuple[list[str], list[int]]:
    """Paths and labels, where torchvision's classes keep them."""
    samples = getattr(found, "samples", None) or getattr(found, "_samples", None)
    if samples is not None:
        return [str(path) for path, _ in samples], [int(label) for _, label in samples]
    paths = found._images if hasattr(found, "_images") else found._image_files
    return [str(path) for path in paths], [int(label) for label in found._labels]


def _class_names(kind: TorchvisionSet, found: Any) -> tuple[str, ...]:
    if kind.classes is not None:
        return numbers(kind.classes)
    return tuple(name if isinstance(name, str) else name[0] for name in found.classes)


def _eurosat(root: str, *, download: bool) -> Any:
    return datasets.EuroSAT(root, download=download)


ARRAYS = {
    kind.name: kind
    for kind in (
        TorchvisionSet("fashion-mnist", datasets.FashionMNIST, TRAIN_OR_TEST, "FashionMNIST", "clothes, grey 28 x 28"),
        TorchvisionSet("mnist", datasets.MNIST, TRAIN_OR_TEST, "MNIST", "digits, grey 28 x 28", 10),
        TorchvisionSet("kmnist", datasets.KMNIST, TRAIN_OR_TEST, "KMNIST", "Japanese letters, grey 28 x 28"),
        TorchvisionSet("cifar10", datasets.CIFAR10, TRAIN_OR_TEST, "cifar-10-batches-py", "objects, 32 x 32"),
        TorchvisionSet("cifar100", datasets.CIFAR100, TRAIN_OR_TEST, "cifar-100-python", "objects, 32 x 32"),
        TorchvisionSet(
            "svhn", datasets.SVHN, _splits("test", "train", "extra"), "test_32x32.mat", "house numbers, 32 x 32", 10
        ),
        TorchvisionSet("stl10", datasets.STL10, _splits("test", "train"), "stl10_binary", "objects, 96 x 96"),
    )
}
FILES = {
    kind.name: kind
    for kind in (
        TorchvisionSet("gtsrb", datasets.GTSRB, _splits("test", "train"), "gtsrb", "traffic signs", 43),
        TorchvisionSet("food101", datasets.Food101, _splits("test", "train"), "food-101", "dishes"),
        TorchvisionSet(
            "flowers102", datasets.Flowers102, _splits("test", "train", "val"), "flowers-102", "flowers", 102
        ),
        TorchvisionSet("dtd", datasets.DTD, _splits("test", "train", "val"), "dtd", "textures"),
        TorchvisionSet(
            "oxford-iiit-pet", datasets.OxfordIIITPet, _splits("test", "trainval"), "oxford-iiit-pet", "cats and dogs"
        ),
        TorchvisionSet("eurosat", _eurosat, {"all": {}}, "eurosat", "satellite images, 64 x 64"),
        TorchvisionSet("imagenette", datasets.Imagenette, _splits("val", "train"), "imagenette2", "ten of ImageNet's"),
    )
}

SOURCES = tuple(
    [kind.source(load_array) for kind in ARRAYS.values() if kind.name != "fashion-mnist"]
    + [kind.source(load_files) for kind in FILES.values()]
)
