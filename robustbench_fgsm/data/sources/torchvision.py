"""Data sets that torchvision downloads and reads, by their names there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision import datasets

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import DataOptions, DataSource
from robustbench_fgsm.data.sources.image_files import FileImageSource
from robustbench_fgsm.errors import DataError

TRAIN_FLAG_SPLITS: Mapping[str, Mapping[str, Any]] = {"test": {"train": False}, "train": {"train": True}}


def _named_splits(*names: str) -> Mapping[str, Mapping[str, Any]]:
    return {name: {"split": name} for name in names}


@dataclass(frozen=True)
class TorchvisionDatasetInfo:
    """How torchvision makes one data set.

    make: its class there. splits: arguments for each split, the default first. place: what lies in the root when it is
    there. classes: their number, where they have no names.
    """

    name: str
    constructor: Callable[..., Any]
    splits: Mapping[str, Mapping[str, Any]]
    path_in_root: str
    summary: str
    num_classes: int | None = None

    def open_dataset(self, options: DataOptions) -> Any:
        """Torchvision's own data set; raises DataError where it is not there and SettingError for an unknown split."""
        chosen = self.splits[options.choose_split(self.name, tuple(self.splits))]
        try:
            return self.constructor(str(options.root), download=options.download, **chosen)
        except (RuntimeError, OSError, ValueError) as error:
            where = f"must be in {options.root}, where torchvision keeps it as {self.path_in_root}"
            remedy = "check the network" if options.download else "pass --download, or --data-root DIR"
            raise DataError(f"{self.name} {where}, got {str(error).splitlines()[0]}: {remedy}") from error

    def to_data_source(self, load: Callable[[TorchvisionDatasetInfo, DataOptions], Dataset]) -> DataSource:
        """Where it stands among the sources."""
        return DataSource(
            self.name,
            self.summary,
            lambda _, options: load(self, options),
            is_downloaded=lambda root: (root / self.path_in_root).exists(),
        )


def load_array_dataset(info: TorchvisionDatasetInfo, options: DataOptions) -> ArrayDataset:
    """A data set that torchvision holds as one array of bytes."""
    found = info.open_dataset(options)
    images = torch.as_tensor(np.asarray(found.data))
    if images.ndim == 4 and images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(np.asarray(found.targets if hasattr(found, "targets") else found.labels))
    return ArrayDataset(info.name, images, labels.to(torch.int64), _class_names(info, found))


def load_file_dataset(info: TorchvisionDatasetInfo, options: DataOptions) -> ImageDataset:
    """A data set that torchvision knows as a list of image files."""
    found, place = info.open_dataset(options), options.root / info.path_in_root
    paths, labels = _paths_and_labels(found)
    relative = [os.path.relpath(path, place) for path in paths]
    return ImageDataset(info.name, FileImageSource(place, relative, labels), _class_names(info, found), workers=options.workers)


def _paths_and_labels(dataset: Any) -> tuple[list[str], list[int]]:
    """Paths and labels, where torchvision's classes keep them."""
    samples = getattr(dataset, "samples", None) or getattr(dataset, "_samples", None)
    if samples is not None:
        return [str(path) for path, _ in samples], [int(label) for _, label in samples]
    paths = dataset._images if hasattr(dataset, "_images") else dataset._image_files
    return [str(path) for path in paths], [int(label) for label in dataset._labels]


def _class_names(info: TorchvisionDatasetInfo, dataset: Any) -> tuple[str, ...]:
    if info.num_classes is not None:
        return numbered_class_names(info.num_classes)
    return tuple(name if isinstance(name, str) else name[0] for name in dataset.classes)


def _eurosat(root: str, *, download: bool) -> Any:
    return datasets.EuroSAT(root, download=download)


ARRAY_DATASETS = {
    kind.name: kind
    for kind in (
        TorchvisionDatasetInfo("fashion-mnist", datasets.FashionMNIST, TRAIN_FLAG_SPLITS, "FashionMNIST", "clothes, grey 28 x 28"),
        TorchvisionDatasetInfo("mnist", datasets.MNIST, TRAIN_FLAG_SPLITS, "MNIST", "digits, grey 28 x 28", 10),
        TorchvisionDatasetInfo("kmnist", datasets.KMNIST, TRAIN_FLAG_SPLITS, "KMNIST", "Japanese letters, grey 28 x 28"),
        TorchvisionDatasetInfo("cifar10", datasets.CIFAR10, TRAIN_FLAG_SPLITS, "cifar-10-batches-py", "objects, 32 x 32"),
        TorchvisionDatasetInfo("cifar100", datasets.CIFAR100, TRAIN_FLAG_SPLITS, "cifar-100-python", "objects, 32 x 32"),
        TorchvisionDatasetInfo(
            "svhn", datasets.SVHN, _named_splits("test", "train", "extra"), "test_32x32.mat", "house numbers, 32 x 32", 10
        ),
        TorchvisionDatasetInfo("stl10", datasets.STL10, _named_splits("test", "train"), "stl10_binary", "objects, 96 x 96"),
    )
}
FILE_DATASETS = {
    kind.name: kind
    for kind in (
        TorchvisionDatasetInfo("gtsrb", datasets.GTSRB, _named_splits("test", "train"), "gtsrb", "traffic signs", 43),
        TorchvisionDatasetInfo("food101", datasets.Food101, _named_splits("test", "train"), "food-101", "dishes"),
        TorchvisionDatasetInfo(
            "flowers102", datasets.Flowers102, _named_splits("test", "train", "val"), "flowers-102", "flowers", 102
        ),
        TorchvisionDatasetInfo("dtd", datasets.DTD, _named_splits("test", "train", "val"), "dtd", "textures"),
        TorchvisionDatasetInfo(
            "oxford-iiit-pet", datasets.OxfordIIITPet, _named_splits("test", "trainval"), "oxford-iiit-pet", "cats and dogs"
        ),
        TorchvisionDatasetInfo("eurosat", _eurosat, {"all": {}}, "eurosat", "satellite images, 64 x 64"),
        TorchvisionDatasetInfo(
            "imagenette", datasets.Imagenette, _named_splits("val", "train"), "imagenette2", "ten of ImageNet's"
        ),
    )
}

SOURCES = tuple(
    [kind.to_data_source(load_array_dataset) for kind in ARRAY_DATASETS.values() if kind.name != "fashion-mnist"]
    + [kind.to_data_source(load_file_dataset) for kind in FILE_DATASETS.values()]
)
