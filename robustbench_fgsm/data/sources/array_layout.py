"""Arrays of images and labels as other programs save them, and the order of their axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_fgsm.data.class_names import numbers
from robustbench_fgsm.data.dataset import ArrayDataset
from robustbench_fgsm.errors import DataError, SettingError, did_you_mean

LAYOUTS = ("NCHW", "NHWC", "NHW")
CHANNELS = (1, 3)
KEYS = (("images", "labels"), ("x", "y"))
"""Names of the two arrays; in Keras' files, `x_train` and `y_train` or `x_test` and `y_test`."""


def find_keys(names: Sequence[str], split: str | None, place: str) -> tuple[str, str]:
    """Names of images and labels among the arrays of a file; raises DataError or SettingError where there are none."""
    splits = [name.removeprefix("x_") for name in names if name.startswith("x_") and f"y_{name[2:]}" in names]
    if split is not None and split not in splits:
        known = f"choose from {', '.join(splits)}" if splits else "leave it out"
        raise SettingError(f"{place} must have arrays x_{split} and y_{split}, got {', '.join(names)}: {known}")
    whole = next((pair for pair in KEYS if set(pair) <= set(names)), None)
    if split is None and whole is not None:
        return whole
    split = split or ("test" if "test" in splits else next(iter(splits), None))
    if split is None:
        raise DataError(
            f"{place} must hold images and labels (or x and y, or x_test and y_test), got {', '.join(names) or 'nothing'}: "
            "save them by such names"
        )
    return f"x_{split}", f"y_{split}"


def to_dataset(
    place: str, images: Tensor, labels: Tensor, layout: str | None, classes: Sequence[str] | None
) -> ArrayDataset:
    """A data set from stored arrays, of which none is copied; classes: names, or None to call them by their labels.

    labels: integers (N,) or (N, 1). Raises DataError for arrays that are not images and labels.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise DataError(
            f"{place} must have one integer label an image, got {_said(labels)}: take the argmax of one-hot"
        )
    if labels.dtype == torch.bool or labels.is_floating_point():
        raise DataError(f"{place} must have integer labels, got {_said(labels)}: convert them")
    if not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise DataError(
            f"{place} must have uint8 images, or floating point in [0, 1], got {_said(images)}: convert them to uint8"
        )
    if len(labels) and int(labels.min()) < 0:
        raise DataError(f"{place} must have labels from 0, got {int(labels.min())}: count classes from 0")
    names = tuple(classes) if classes is not None else numbers(int(labels.max()) + 1 if len(labels) else 0)
    return ArrayDataset(place, to_nchw(images, layout, place), labels, names)


def to_nchw(images: Tensor, layout: str | None, place: str) -> Tensor:
    """A view (N, C, H, W) of images in any layout, told by which axis has 1 or 3 entries where layout is None.

    Raises DataError where that says nothing and SettingError for a layout that the images cannot have.
    """
    if layout is not None and layout.upper() not in LAYOUTS:
        remedy = did_you_mean(layout.upper(), LAYOUTS)
        raise SettingError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}: {remedy}")
    axes = layout.upper() if layout is not None else _told(images.shape, place)
    if len(axes) != images.ndim:
        raise SettingError(f"layout {axes} is of {len(axes)} axes, got images {tuple(images.shape)}: choose another")
    if axes == "NHWC":
        return images.permute(0, 3, 1, 2)
    return images.unsqueeze(1) if axes == "NHW" else images


def _told(shape: Sequence[int], place: str) -> str:
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise DataError(
            f"{place} must have images of 3 or 4 axes (NCHW, NHWC or NHW), got {tuple(shape)}: reshape them"
        )
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        raise DataError(f"{place} has images {tuple(shape)}, of which NCHW and NHWC are possible: pass --layout")
    return "NCHW" if first else "NHWC"


def _said(array: Tensor) -> str:
    return f"{str(array.dtype).removeprefix('torch.')} of shape {tuple(array.shape)}"
