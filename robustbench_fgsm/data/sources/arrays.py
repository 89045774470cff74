"""Arrays of images and labels as other programs save them: their names, and the data set of them."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_fgsm.data.axes import check_layout, infer_layout
from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import ArrayDataset
from robustbench_fgsm.data.labels import to_class_indices
from robustbench_fgsm.data.pixels import to_sample_tensor
from robustbench_fgsm.errors import DataError, SettingError

ARRAY_KEYS = (("images", "labels"), ("x", "y"))
"""Names of the two arrays; in Keras' files, `x_train` and `y_train` or `x_test` and `y_test`."""


def find_array_keys(names: Sequence[str], split: str | None, data_name: str) -> tuple[str, str]:
    """Return the names of images and labels among the arrays of a file; raise DataError or SettingError if there are none."""
    splits = [name.removeprefix("x_") for name in names if name.startswith("x_") and f"y_{name[2:]}" in names]
    if split is not None and split not in splits:
        known = f"choose from {', '.join(splits)}" if splits else "leave it out"
        raise SettingError(f"{data_name} must have arrays x_{split} and y_{split}, got {', '.join(names)}: {known}")
    pair = next((pair for pair in ARRAY_KEYS if set(pair) <= set(names)), None)
    if split is None and pair is not None:
        return pair
    split = split or ("test" if "test" in splits else next(iter(splits), None))
    if split is None:
        raise DataError(
            f"{data_name} must hold images and labels (or x and y, or x_test and y_test), got {', '.join(names) or 'nothing'}: "
            "save them by such names"
        )
    return f"x_{split}", f"y_{split}"


def arrays_to_dataset(
    data_name: str,
    images: object,
    labels: object,
    layout: str | None,
    classes: Sequence[str] | None,
    *,
    ambiguous: str | None = None,
) -> ArrayDataset:
    """Return a data set of stored arrays, without copies; classes: names, or None to name them by their labels.

    labels: as `to_class_indices` takes them. ambiguous: as in `to_channels_first`. Raises DataError for arrays that are not images
    and labels.
    """
    samples, found = to_sample_tensor(images, data_name), to_class_indices(labels, data_name, classes or ())
    if samples.ndim < 2:
        raise DataError(f"{data_name} must have images of 2 to 5 axes, got {tuple(samples.shape)}: reshape them")
    axes = check_layout(layout) or infer_layout(samples.shape, data_name, ambiguous)
    names = classes if classes is not None else found.names
    if names is None:
        names = numbered_class_names(found.num_classes or (int(found.indices.max()) + 1 if len(found.indices) else 0))
    data = ArrayDataset(data_name, samples, found.indices, tuple(names), layout=axes)
    data.layout = layout
    return data
