"""`safetensors:FILE`: tensors `images` and `labels`, or the names that npz files use."""

from __future__ import annotations

from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, find_array_keys, reading
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.files.array_files import open_safetensors
from robustbench_fgsm.files.json_files import parse_json_value


def load(argument: str, options: DataOptions) -> Dataset:
    """Return the images and labels of the file, which stays mapped; class names from `classes` of its metadata, a JSON list.

    Raises DataError if the file cannot be read, or does not hold images and labels.
    """
    file = Path(argument)
    with reading(f"safetensors {file}", "be whole"), open_safetensors(file, follow_links=True) as stored:
        shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
        images, labels = find_array_keys(shapes, options, str(file))
        classes = parse_json_value((stored.metadata() or {}).get("classes", "null"), f"classes in the metadata of {file}")
        tensors = stored.get_tensor(images), stored.get_tensor(labels)
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise DataError(f"classes in the metadata of {file} must be a JSON list of names, got {classes!r:.60}")
    return arrays_to_dataset(f"safetensors:{file}", *tensors, options, classes)
