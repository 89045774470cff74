"""`npz:FILE`: NumPy arrays, mapped into memory unless they are compressed. Pickles inside are never opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.memory import check_memory
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, find_array_keys, reading
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.files.array_files import open_npz
from robustbench_fgsm.files.regular_files import MAX_SMALL_EXPANSION


def load(argument: str, options: DataOptions) -> Dataset:
    """Return the images and labels of an .npz file, and class names from a text array `classes`, if present.

    Raises UnsafeError if the file holds pickled objects; DataError if the file cannot be read, or does not hold images and labels.
    """
    file = Path(argument)
    with (
        reading(f"npz {file}", "hold plain arrays"),
        open_npz(file, follow_links=True, expansion=MAX_SMALL_EXPANSION) as arrays,  # masks and drawings compress well
    ):
        keys = find_array_keys(arrays.shapes, options, str(file))
        names = ["classes"] if "classes" in arrays else []
        check_memory(sum(map(arrays.unpacked_bytes, [*keys, *names])), f"npz {file}", "save it with numpy.savez, uncompressed")
        classes = _array_class_names(arrays.read("classes"), file) if names else None
        images, labels = map(arrays.read, keys)
    return arrays_to_dataset(f"npz:{file}", images, labels, options, classes)


def _array_class_names(array: NDArray[Any], file: Path) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise DataError(f"classes of {file} must be names, got {array.dtype} of shape {array.shape}: save them as text")
    return [str(name) for name in array.astype(str)]
