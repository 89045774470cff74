"""Arrays of images and labels as other programs save them: their names, and the data set of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from robustbench_fgsm.data.axes import check_layout, infer_layout
from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import ArrayDataset
from robustbench_fgsm.data.labels import to_class_indices, to_multi_hot
from robustbench_fgsm.data.pixels import to_sample_tensor
from robustbench_fgsm.data.registry import SPLIT_PREFERENCE, DataOptions
from robustbench_fgsm.errors import DataError, RfgsmError, SettingError, did_you_mean, first_line

ARRAY_KEYS = (("images", "labels"), ("x", "y"), ("data", "target"), ("data", "labels"), ("image", "label"), ("features", "labels"))
"""Names of the two arrays, in any case; in Keras' files, `x_train` and `y_train` or `x_test` and `y_test`."""


@contextmanager
def reading(name: str, expected: str, malformed: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """Raise DataError if a file of this name cannot be read in the block, or raises an error of a malformed one.

    expected: what the file must be, as in `be text in UTF-8`.
    """
    try:
        yield
    except RfgsmError:
        raise
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror or first_line(error)}): check the path") from error
    except malformed as error:
        raise DataError(f"{name} must {expected}, got one that cannot be read ({first_line(error)}): save it again") from error


def find_array_keys(shapes: Mapping[str, object], options: DataOptions, data_name: str) -> tuple[str, str]:
    """Return the names of images and labels among the arrays of a file.

    shapes: shape of each array by name, for messages. Raises DataError or SettingError if they are missing.
    """
    named = options.images_key, options.labels_key
    for option, key in zip(("--images-key", "--labels-key"), named, strict=True):
        if key is not None and key not in shapes:
            raise SettingError(f"{option} must name an array of {data_name}, got {key!r}: {did_you_mean(key, shapes)}")
    own = {name.lower(): name for name in reversed(list(shapes))}
    splits = [name.removeprefix("x_") for name in map(str.lower, shapes) if name.startswith("x_") and f"y_{name[2:]}" in own]
    split = options.split
    if split is not None and split not in splits:
        known = f"choose from {', '.join(splits)}" if splits else "leave it out"
        raise SettingError(f"{data_name} must have arrays x_{split} and y_{split}, got {', '.join(shapes)}: {known}")
    pairs: list[tuple[str, str]] = [*ARRAY_KEYS] if split is None else []
    pairs += [(f"x_{part}", f"y_{part}") for part in ([split] if split else [*SPLIT_PREFERENCE, *splits])]
    for pair in pairs:
        images, labels = (key or own.get(usual) for key, usual in zip(named, pair, strict=True))
        if images is not None and labels is not None and images != labels:
            return images, labels
    if None not in named:
        raise SettingError(f"--images-key and --labels-key must name two arrays, got {named[0]!r} twice: name another one")
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    raise DataError(
        f"{data_name} must hold images and labels (or x and y, or x_test and y_test), got {found}: "
        "pass --images-key NAME and --labels-key NAME (in Python, load_data(..., images_key=NAME, labels_key=NAME))"
    )


def arrays_to_dataset(
    data_name: str,
    images: object,
    labels: object,
    options: DataOptions,
    classes: Sequence[str] | None,
    *,
    ambiguous: str | None = None,
) -> ArrayDataset:
    """Return a data set of stored arrays, without copies; classes: names, or None to name them by their labels.

    labels: as `to_class_indices` takes them, or `to_multi_hot` for task multilabel. ambiguous: as in `to_channels_first`. Raises
    DataError for arrays that are not images and labels.
    """
    samples, names = to_sample_tensor(images, data_name), classes
    if options.task == "multilabel":
        indices = to_multi_hot(labels, data_name)
        num_classes = indices.shape[1]
    else:
        found = to_class_indices(labels, data_name, classes or ())
        indices, names = found.indices, classes if classes is not None else found.names
        num_classes = found.num_classes or (int(indices.max()) + 1 if len(indices) else 0)
    if samples.ndim < 2:
        raise DataError(f"{data_name} must have images of 2 to 5 axes, got {tuple(samples.shape)}: reshape them")
    if options.shape is not None:
        samples = _reshape(samples, options.shape, data_name)
    layout = options.layout
    axes = check_layout(layout) or infer_layout(samples.shape, data_name, ambiguous)
    if names is None:
        names = numbered_class_names(num_classes)
    data = ArrayDataset(data_name, samples, indices, tuple(names), layout=axes, task=options.task)
    data.layout = layout
    return data


def _reshape(samples: Tensor, shape: Sequence[int], data_name: str) -> Tensor:
    """Return samples (N, ...) of this shape each; raise SettingError for another number of values."""
    if samples[:1].numel() not in (0, math.prod(shape)):
        raise SettingError(
            f"shape must be of the {samples[:1].numel():,} values of a sample of {data_name}, got {'x'.join(map(str, shape))}, "
            f"which is {math.prod(shape):,}: choose another"
        )
    return samples.reshape(len(samples), *shape)
