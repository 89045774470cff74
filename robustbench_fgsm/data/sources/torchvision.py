"""Data sets that torchvision downloads and reads."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import datasets

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.labels import to_class_indices
from robustbench_fgsm.data.registry import DATA_SOURCES, DataOptions
from robustbench_fgsm.data.sources.arrays import reading
from robustbench_fgsm.data.sources.image_files import FileImageSource
from robustbench_fgsm.errors import DataError, first_line
from robustbench_fgsm.files.regular_files import is_directory, open_to_read

TRAIN_FLAG_SPLITS: Mapping[str, Mapping[str, Any]] = {"test": {"train": False}, "train": {"train": True}}


def _named_splits(*names: str) -> Mapping[str, Mapping[str, Any]]:
    return {name: {"split": name} for name in names}


@dataclass(frozen=True)
class TorchvisionDatasetInfo:
    """Construction of one data set by torchvision: arguments for each split, and the number of classes if they have no names.

    lists_files: torchvision holds a list of image files, not one array of bytes. path: what lies in the root; empty for the
    registry's path.
    """

    constructor: Callable[..., Any]
    splits: Mapping[str, Mapping[str, Any]]
    num_classes: int | None = None
    lists_files: bool = False
    path: str = ""

    def class_names(self, dataset: Any) -> tuple[str, ...]:
        """Return the names of the classes, numbers if torchvision has no names."""
        if self.num_classes is not None:
            return numbered_class_names(self.num_classes)
        return tuple(name if isinstance(name, str) else name[0] for name in dataset.classes)


def load(name: str, options: DataOptions) -> Dataset:
    """Return the data set of that name; raise DataError if it is not in the root, and SettingError for an unknown split."""
    return (load_file_dataset if TORCHVISION_DATASETS[name].lists_files else load_array_dataset)(name, options)


def load_array_dataset(name: str, options: DataOptions) -> ArrayDataset:
    """Return a data set that torchvision holds as one array of bytes."""
    dataset = _open_dataset(name, options)
    images = torch.as_tensor(np.asarray(dataset.data))
    if images.ndim == 4 and images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    labels = to_class_indices(dataset.targets if hasattr(dataset, "targets") else dataset.labels, name).indices
    return ArrayDataset(name, images, labels, TORCHVISION_DATASETS[name].class_names(dataset))


def load_file_dataset(name: str, options: DataOptions) -> ImageDataset:
    """Return a data set that torchvision knows as a list of image files."""
    dataset, directory = _open_dataset(name, options), options.root / _path_in_root(name)
    paths, labels = _paths_and_labels(dataset)
    source = FileImageSource(directory, [os.path.relpath(path, directory) for path in paths], labels, follow_links=True)
    return ImageDataset(name, source, TORCHVISION_DATASETS[name].class_names(dataset), workers=options.workers)


def _open_dataset(name: str, options: DataOptions) -> Any:
    info = TORCHVISION_DATASETS[name]
    arguments = info.splits[options.choose_split(name, tuple(info.splits))]
    constructor = info.constructor
    if isinstance(constructor, type) and issubclass(constructor, datasets.MNIST):
        constructor = _without_processed_files(constructor)
        _check_idx_files(options.root / _path_in_root(name) / "raw")
    try:
        return constructor(str(options.root), download=options.download, **arguments)
    except Exception as error:  # the readers of torchvision assert, index and unpickle
        expected = f"must be in {options.root}, where torchvision keeps it as {_path_in_root(name)}"
        remedy = "pass --download, or --data-root DIR"
        if options.download:
            remedy = "check the network, and that the directory can be written"
        raise DataError(f"{name} {expected}, got {first_line(error)}: {remedy}") from error


def _without_processed_files(kind: type[datasets.MNIST]) -> type[datasets.MNIST]:
    """Return the data set without the .pt files of old versions of torchvision, which would take the place of its own files."""
    return type(kind.__name__, (kind,), {"_check_legacy_exist": lambda _: False})


def _check_idx_files(directory: Path) -> None:
    """Raise DataError unless the files of MNIST have the bytes that their headers declare; torchvision reads them whole."""
    for file in sorted(directory.glob("t*-ubyte")) if is_directory(directory) else ():
        with reading(f"mnist {file}", "be a file of MNIST"), open_to_read(file, follow_links=True) as stream:
            header, size = stream.read(16), stream.seek(0, os.SEEK_END)
            axes = header[3] if len(header) >= 4 else 0
            declared = 4 * (axes + 1) + math.prod(int.from_bytes(header[4 * axis : 4 * axis + 4]) for axis in range(1, axes + 1))
            if axes not in (1, 3) or declared != size:
                raise DataError(f"{file} must have the {declared:,} bytes that its header declares, got {size:,}: fetch it again")


def _path_in_root(name: str) -> str:
    return TORCHVISION_DATASETS[name].path or DATA_SOURCES.built_in[name].paths[0]


def _paths_and_labels(dataset: Any) -> tuple[list[str], list[int]]:
    """Return paths and labels, which torchvision's classes keep under several names."""
    samples = getattr(dataset, "samples", None) or getattr(dataset, "_samples", None)
    if samples is not None:
        return [str(path) for path, _ in samples], [int(label) for _, label in samples]
    paths = dataset._images if hasattr(dataset, "_images") else dataset._image_files
    return [str(path) for path in paths], [int(label) for label in dataset._labels]


_TEST_TRAIN = _named_splits("test", "train")
_TEST_TRAIN_VAL = _named_splits("test", "train", "val")

TORCHVISION_DATASETS = {
    "fashion-mnist": TorchvisionDatasetInfo(datasets.FashionMNIST, TRAIN_FLAG_SPLITS, path="FashionMNIST"),
    "mnist": TorchvisionDatasetInfo(datasets.MNIST, TRAIN_FLAG_SPLITS, 10),
    "kmnist": TorchvisionDatasetInfo(datasets.KMNIST, TRAIN_FLAG_SPLITS),
    "cifar10": TorchvisionDatasetInfo(datasets.CIFAR10, TRAIN_FLAG_SPLITS),
    "cifar100": TorchvisionDatasetInfo(datasets.CIFAR100, TRAIN_FLAG_SPLITS),
    "svhn": TorchvisionDatasetInfo(datasets.SVHN, _named_splits("test", "train", "extra"), 10),
    "stl10": TorchvisionDatasetInfo(datasets.STL10, _TEST_TRAIN),
    "gtsrb": TorchvisionDatasetInfo(datasets.GTSRB, _TEST_TRAIN, 43, lists_files=True),
    "food101": TorchvisionDatasetInfo(datasets.Food101, _TEST_TRAIN, lists_files=True),
    "flowers102": TorchvisionDatasetInfo(datasets.Flowers102, _TEST_TRAIN_VAL, 102, lists_files=True),
    "dtd": TorchvisionDatasetInfo(datasets.DTD, _TEST_TRAIN_VAL, lists_files=True),
    "oxford-iiit-pet": TorchvisionDatasetInfo(datasets.OxfordIIITPet, _named_splits("test", "trainval"), lists_files=True),
    "eurosat": TorchvisionDatasetInfo(datasets.EuroSAT, {"all": {}}, lists_files=True),
    "imagenette": TorchvisionDatasetInfo(datasets.Imagenette, _named_splits("val", "train"), lists_files=True),
}
