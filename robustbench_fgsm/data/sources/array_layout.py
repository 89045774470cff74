"""Arrays of images and labels as other programs save them: their names and the order of their axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import ArrayDataset
from robustbench_fgsm.errors import DataError, SettingError, did_you_mean

ARRAY_LAYOUTS = ("NCHW", "NHWC", "NHW")
CHANNEL_COUNTS = (1, 3)
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
    data_name: str, images: Tensor, labels: Tensor, layout: str | None, classes: Sequence[str] | None
) -> ArrayDataset:
    """Return a data set of stored arrays, without copies; classes: names, or None to name them by their labels.

    labels: integers (N,) or (N, 1). Raises DataError for arrays that are not images and labels.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise DataError(
            f"{data_name} must have one integer label an image, got {_dtype_and_shape(labels)}: take the argmax of one-hot"
        )
    if labels.dtype == torch.bool or labels.is_floating_point():
        raise DataError(f"{data_name} must have integer labels, got {_dtype_and_shape(labels)}: convert them")
    if not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise DataError(
            f"{data_name} must have uint8 images, or floating point in [0, 1], got {_dtype_and_shape(images)}: "
            "convert them to uint8"
        )
    if len(labels) and int(labels.min()) < 0:
        raise DataError(f"{data_name} must have labels from 0, got {int(labels.min())}: count classes from 0")
    names = tuple(classes) if classes is not None else numbered_class_names(int(labels.max()) + 1 if len(labels) else 0)
    return ArrayDataset(data_name, to_nchw(images, layout, data_name), labels, names)


def to_nchw(images: Tensor, layout: str | None, data_name: str) -> Tensor:
    """Return a view (N, C, H, W) of images in any layout; None infers the layout from the axis with 1 or 3 entries.

    Raises DataError if the layout cannot be inferred; SettingError if the images cannot have this layout.
    """
    if layout is not None and layout.upper() not in ARRAY_LAYOUTS:
        remedy = did_you_mean(layout.upper(), ARRAY_LAYOUTS)
        raise SettingError(f"layout must be one of {', '.join(ARRAY_LAYOUTS)}, got {layout!r}: {remedy}")
    axes = layout.upper() if layout is not None else _infer_layout(images.shape, data_name)
    if len(axes) != images.ndim:
        raise SettingError(f"layout {axes} is of {len(axes)} axes, got images {tuple(images.shape)}: choose another")
    if axes == "NHWC":
        return images.permute(0, 3, 1, 2)
    return images.unsqueeze(1) if axes == "NHW" else images


def _infer_layout(shape: Sequence[int], data_name: str) -> str:
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise DataError(f"{data_name} must have images of 3 or 4 axes (NCHW, NHWC or NHW), got {tuple(shape)}: reshape them")
    first, last = shape[1] in CHANNEL_COUNTS, shape[3] in CHANNEL_COUNTS
    if first == last:
        raise DataError(f"{data_name} has images {tuple(shape)}, of which NCHW and NHWC are possible: pass --layout")
    return "NCHW" if first else "NHWC"


def _dtype_and_shape(array: Tensor) -> str:
    return f"{str(array.dtype).removeprefix('torch.')} of shape {tuple(array.shape)}"
