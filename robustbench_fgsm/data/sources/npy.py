"""`npy:IMAGES,LABELS`: two NumPy files, mapped into memory. Pickles inside are never opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, reading
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.files.array_files import map_npy


def load(argument: str, options: DataOptions) -> Dataset:
    """Return the images of the first file with the labels of the second one.

    Raises UnsafeError if a file holds pickled objects; DataError if a file cannot be read, or there are not two files.
    """
    options.reject_split("npy")
    files = argument.split(",")
    if len(files) != 2 or not all(files):
        raise DataError(f"npy needs a file of images and a file of labels, got {argument!r}: pass npy:IMAGES.npy,LABELS.npy")
    images, labels = (_map_file(Path(file)) for file in files)
    return arrays_to_dataset(f"npy:{argument}", images, labels, options, None)


def _map_file(file: Path) -> NDArray[Any]:
    with reading(f"npy {file}", "hold a plain array"):
        return map_npy(file)
