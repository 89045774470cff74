"""Labels in any form as class indices: one function for all sources of data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.arguments import SIGNED_LABELS_REMEDY, check_not_masked
from robustbench_fgsm.errors import DataError, did_you_mean, first_line
from robustbench_fgsm.spec import MAX_CLASSES

UNLABELLED = -1
"""Label of an image without one, which counts as bad; `datasets` has it in test splits too."""

SUM_TOLERANCE = 1e-3
MULTI_LABEL_REMEDY = (
    "for a multi-label network pass --task multilabel to evaluate, sweep, compare or attack (in Python, task='multilabel' to "
    "rf.wrap and rf.load_data)"
)


class ClassIndices(NamedTuple):
    """Class indices int64 (N,), and what the labels say of the classes.

    names: names of the classes if the labels are text. num_classes: number of columns of one-hot labels; None if unknown.
    """

    indices: Tensor
    names: tuple[str, ...] | None = None
    num_classes: int | None = None


def to_class_indices(labels: object, data_name: str, classes: Sequence[str] = ()) -> ClassIndices:
    """Return labels as class indices from 0.

    labels: integers (N,) or (N, 1), as integers or as whole floating-point numbers; one-hot rows (N, K); or text, the names of
    classes. classes: names in their order; if there are none, the names in the labels are sorted, as directories are. Raises
    DataError, which names the first wrong label, for anything else.
    """
    array = _to_numpy(labels, data_name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "US":
        return _from_text(array, data_name, classes)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{data_name} must have integer labels, got {_describe(array)}: pass one class index from 0 for each image")
    if array.ndim == 2:
        return _from_rows(array, data_name)
    if array.ndim != 1:
        remedy = (
            "evaluate takes one class for each image, and rf.fgsm with a loss of your own takes labels of any shape"
            if array.ndim > 1
            else "pass a list of labels, one for each image"
        )
        raise DataError(f"{data_name} must have one integer label an image, got {_describe(array)}: {remedy}")
    if array.dtype.kind == "b":
        raise DataError(f"{data_name} must have integer labels, got {_describe(array)}: pass 1 for True and 0 for False")
    return ClassIndices(torch.from_numpy(_check_integers(array, data_name)))


def to_multi_hot(labels: object, data_name: str) -> Tensor:
    """Return labels of 0 and 1 (N, K), any number of them for each image, as int64; raise DataError for any other labels."""
    try:
        array = _to_numpy(labels, data_name)
    except DataError as error:
        raise DataError(f"{error}: pass rows of 0 and 1, as sklearn.preprocessing.MultiLabelBinarizer makes them") from error
    if array.dtype.kind in "US":
        numbers = _to_numbers(np.char.strip(array.astype(str)))
        array = array if numbers is None else numbers
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "biuf":
        remedy = "pass one row of 0 and 1 for each image"
        if array.ndim == 1:
            remedy = "leave task multilabel out if each image has one class, or pass their one-hot rows"
        elif array.ndim == 2 and array.shape[1] == 1:
            remedy = "one label an image is a class of a binary network, so leave task multilabel out"
        raise DataError(f"{data_name} must have multi-hot labels (N, K) for task multilabel, got {_describe(array)}: {remedy}")
    other = (array != 0) & (array != 1)
    if bool(other.any()):
        first = tuple(map(int, np.argwhere(other)[0]))
        remedy = "leave out images without labels, and write 0 for a label that is not there and 1 for one that is"
        if set(np.unique(array).tolist()) <= {-1, 1}:
            remedy = "pass (labels > 0)"
        elif bool(((array >= 0) & (array <= 1)).all()):
            remedy = "choose a threshold, for example (labels > 0.5)"
        raise DataError(
            f"{data_name} must have multi-hot labels of 0 and 1, got {array[first]:g} for label {first[1]} of image {first[0]}: "
            f"{remedy}"
        )
    return torch.from_numpy(array.astype(np.int64))


def to_multi_hot_row(label: object, data_name: str) -> tuple[int, ...]:
    """Return the labels of 0 and 1 of one sample; raise DataError as `to_multi_hot` does."""
    row: tuple[int, ...] = tuple(to_multi_hot([_to_numpy(label, data_name)], data_name)[0].tolist())
    return row


def check_multi_hot(labels: Tensor, count: int, num_labels: int) -> None:
    """Raise DataError unless labels are integers 0 and 1 of this shape."""
    if labels.shape != (count, num_labels) or labels.dtype != torch.int64 or not bool(((labels == 0) | (labels == 1)).all()):
        raise DataError(
            f"labels must be 0 and 1 in an int64 tensor ({count}, {num_labels}), got {labels.dtype} of shape "
            f"{tuple(labels.shape)}: pass one row for each image, with an entry for each of the {num_labels} labels"
        )


def to_class_index(label: object, data_name: str) -> int:
    """Return the class index of one sample; raise DataError as `to_class_indices` does."""
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool) and 0 <= label < MAX_CLASSES:
        return int(label)
    array = _to_numpy(label, data_name)
    found = to_class_indices(array.reshape(1) if array.size == 1 else array[np.newaxis], data_name)
    if found.names is not None:
        raise DataError(f"{data_name} must have integer labels, got {label!r:.40}: pass the index of the class")
    return int(found.indices[0])


def _to_numpy(labels: object, data_name: str) -> NDArray[Any]:
    """Return an array of numbers or text; raise DataError for other objects."""
    check_not_masked(labels, f"labels of {data_name}")
    if isinstance(labels, Tensor):
        plain = labels.detach().cpu()
        return plain.float().numpy() if plain.dtype == torch.bfloat16 else plain.resolve_conj().resolve_neg().numpy()
    try:
        array = np.asarray(labels)
        if array.dtype.kind in "OT":
            array = np.array(array.tolist())  # plain objects of Python, or pandas' columns
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{data_name} must have one label an image, got labels that make no array ({first_line(error)})") from error
    if array.dtype.kind == "O":
        raise DataError(f"{data_name} must have integer labels, got {array.tolist()!r:.60}: pass one class index an image")
    return array


def _from_text(array: NDArray[Any], data_name: str, classes: Sequence[str]) -> ClassIndices:
    if array.ndim != 1:
        raise DataError(f"{data_name} must have one label an image, got text of shape {array.shape}: pass one class index an image")
    text = np.char.strip(array.astype(str))
    if (numbers := _to_numbers(text)) is not None:
        return ClassIndices(torch.from_numpy(_check_integers(numbers, data_name)))
    if bool((text == "").any()):
        first = int(np.argmax(text == ""))
        raise DataError(f"{data_name} must have a label for each image, got none at image {first}: leave it out")
    found, indices = np.unique(text, return_inverse=True)
    names = tuple(classes or found.tolist())
    if twice := [name for name in found.tolist() if names.count(name) > 1]:
        raise DataError(f"{data_name} must have different names of classes, got {twice[0]!r} twice: pass class indices as labels")
    unknown = sorted(set(found.tolist()) - set(names))
    if unknown:
        raise DataError(f"{data_name} must have labels among its classes, got {unknown[0]!r}: {did_you_mean(unknown[0], names)}")
    places = np.array([names.index(name) for name in found.tolist()], dtype=np.int64)
    return ClassIndices(torch.from_numpy(places[indices]), names)


def _to_numbers(text: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return text as numbers; None if one is not a number."""
    try:
        return text.astype(np.float64)
    except ValueError:
        return None


def _from_rows(rows: NDArray[Any], data_name: str) -> ClassIndices:
    """Return the column of the 1 in each row (N, K) of one-hot labels; raise DataError for other rows."""
    zeros_and_ones = bool(((rows == 0) | (rows == 1)).all())
    sums = rows.sum(1, dtype=np.float64)
    if zeros_and_ones and bool((sums == 1).all()):
        return ClassIndices(torch.from_numpy(rows.argmax(1).astype(np.int64)), None, rows.shape[1])
    if zeros_and_ones:
        first = int(np.argmax(sums != 1))
        raise DataError(
            f"{data_name} must have one class an image, got multi-hot labels {rows.shape}, {int(sums[first])} classes at image "
            f"{first}: {MULTI_LABEL_REMEDY}"
        )
    if rows.dtype.kind == "f" and bool((rows >= 0).all()) and bool((abs(sums - 1) < SUM_TOLERANCE).all()):
        raise DataError(f"{data_name} must have one class an image, got probabilities {rows.shape}: pass labels.argmax(1)")
    raise DataError(f"{data_name} must have one integer label an image, got {_describe(rows)}: pass one class index an image")


def _check_integers(array: NDArray[Any], data_name: str) -> NDArray[np.int64]:
    """Return labels (N,) as int64; raise DataError, with the remedy, unless they are whole numbers from 0."""
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (np.trunc(array) == array)
        if not bool(whole.all()):
            first = int(np.argmin(whole))
            raise DataError(
                f"{data_name} must have integer labels, got {float(array[first])} at image {first}: "
                "pass one class index from 0 for each image, and leave out images without a label"
            )
    if len(array) and float(array.max()) >= MAX_CLASSES:
        raise DataError(f"labels must be below {MAX_CLASSES:,}, got {int(array.max())} in {data_name}: take class indices from 0")
    found: NDArray[np.int64] = array.astype(np.int64)
    if len(found) and found.min() < 0:
        raise DataError(f"{data_name} must have labels from 0, got {found.min()}: {_negative_label_remedy(found)}")
    return found


def _negative_label_remedy(labels: NDArray[np.int64]) -> str:
    if set(np.unique(labels).tolist()) == {-1, 1}:
        return SIGNED_LABELS_REMEDY
    return "leave out these images, which have no label (keep = labels >= 0), or count classes from 0"


def count_from_one(labels: Tensor, num_classes: int) -> bool:
    """Return True if labels (N,) are 1 to num_classes, so that they count classes from 1."""
    return len(labels) > 0 and int(labels.min()) >= 1 and int(labels.max()) == num_classes


def _describe(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"
