"""Torch data sets as images: samples of several forms, read one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.decoding import UnreadableError, image_to_pixels
from robustbench_fgsm.data.images import ImageDataset, Label
from robustbench_fgsm.data.labels import to_class_index, to_multi_hot_row
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.spec import Task
from robustbench_fgsm.user_code import user_code

FINGERPRINT_SAMPLES = 32
"""Images, spread evenly, that tell a torch data set from others."""

IMAGE_KEYS = ("image", "images", "img", "pixel_values", "x", "input", "inputs", "data")
SampleKeys = tuple[str | None, str | None]
NO_KEYS: SampleKeys = (None, None)
LABEL_KEYS = ("label", "labels", "y", "target", "targets", "class")


def split_sample(sample: Any, place: str, index: int | None = None, keys: SampleKeys = NO_KEYS) -> tuple[Any, Any]:
    """Return image and label of a sample: a pair, a triple with the index behind, or a mapping with one key for each.

    index: place of the sample in its data set; None if unknown. keys: as in TorchImageSource. Raises DataError for another form.
    """
    if isinstance(sample, Mapping):
        given = ((keys[0],) if keys[0] else IMAGE_KEYS, (keys[1],) if keys[1] else LABEL_KEYS)
        image, label = ([key for key in known if key in sample] for known in given)
        if len(image) != 1 or len(label) != 1:
            raise DataError(
                f"{place} must be (image, label), or a mapping with one of {', '.join(IMAGE_KEYS)} and one of "
                f"{', '.join(LABEL_KEYS)}, got {', '.join(map(str, sample))}: "
                "return a pair, or pass load_data(..., images_key=..., labels_key=...)"
            )
        return sample[image[0]], sample[label[0]]
    if isinstance(sample, (tuple, list)):
        if len(sample) == 2:
            return sample[0], sample[1]
        if len(sample) == 3 and index is not None and _is_number(sample[2], index):
            return sample[0], sample[1]
        raise DataError(
            f"{place} must be (image, label), got {len(sample)} values ({', '.join(type(value).__name__ for value in sample)}): "
            "return image and label alone"
        )
    raise DataError(f"{place} must be (image, label), got {type(sample).__name__}: return image and label")


def _is_number(value: Any, number: int) -> bool:
    return np.ndim(value) == 0 and not isinstance(value, str) and bool(value == number)


class TorchImageSource:
    """Torch data set, read one by one; samples as `split_sample` takes them, images as `image_to_pixels` takes them.

    collate: function from a list of samples to a batch, which changes samples before they are used; None for none. keys: keys of
    image and label in samples that are mappings; None for the usual ones. task: whether labels are classes, or multi-hot rows.
    """

    def __init__(
        self,
        dataset: Any,
        name: str,
        collate: Callable[[list[Any]], Any] | None = None,
        keys: SampleKeys = NO_KEYS,
        task: Task = "multiclass",
    ) -> None:
        self.task = task
        self._dataset = dataset
        self._name = name
        self._collate = collate
        self._keys = keys

    def __len__(self) -> int:
        with user_code(f"data set {self._name} must have a length", DataError):
            return len(self._dataset)

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the number of images, and of labels and pixels of 32 evenly spaced images."""
        digest = hashlib.sha256(repr(len(self)).encode())
        for index in {int(position) for position in np.linspace(0, len(self) - 1, min(FINGERPRINT_SAMPLES, len(self)))}:
            try:
                image, label = self.read(index)
                digest.update(repr((index, label)).encode() + image_to_pixels(image, None).tobytes())
            except UnreadableError:  # counted when its turn comes
                digest.update(repr((index, "bad")).encode())
        return digest.hexdigest()

    def read(self, index: int) -> tuple[Any, Label]:
        """Return the image and its label; raise UnreadableError for an error of the data set."""
        with user_code("the data set must return a sample", UnreadableError):
            sample = self._dataset[index]
            if self._collate is not None:
                sample = self._collate([sample])
        try:
            image, label = split_sample(sample, "each sample", index, self._keys)
            if self._collate is not None:
                image, label = image[0], label[0]
            return image, (to_multi_hot_row if self.task == "multilabel" else to_class_index)(label, "the sample")
        except DataError as error:
            raise UnreadableError(str(error)) from error

    def path(self, index: int) -> str:
        """Return the name of the data set and the index."""
        return f"{self._name}[{index}]"

    @property
    def knows_labels(self) -> bool:
        """Return True if the data set has a list of its labels."""
        return self.task == "multiclass" and self._collate is None and listed_labels(self._dataset) is not None

    def labels(self) -> Sequence[Label]:
        """Return all labels by index, from the data set's list, or from a pass over its images; -1 if there is none."""
        known = listed_labels(self._dataset) if self.knows_labels else None
        return self._read_labels() if known is None else known

    def _read_labels(self) -> list[Label]:
        labels: list[Label] = []
        for index in range(len(self)):
            try:
                labels.append(self.read(index)[1])
            except UnreadableError:
                labels.append(-1)
        return labels


def listed_labels(dataset: Any) -> list[int] | None:
    """Return the data set's own list of labels; None if there is none, or if a transform of labels follows."""
    with user_code("targets of the data set must be its labels", DataError):
        targets = getattr(dataset, "targets", None)
    if targets is None or getattr(dataset, "target_transform", None) is not None or len(targets) != len(dataset):
        return None
    try:
        return [int(label) for label in targets]
    except (TypeError, ValueError, RuntimeError):  # rows of labels
        return None


def class_names_of(dataset: Any, task: Task = "multiclass") -> tuple[str, ...]:
    """Return the names in `classes` of a torch data set or of the one below it; numbers for its `targets`; empty if unknown.

    Multi-hot labels have no numbers there.
    """
    below, outer = dataset, dataset
    while below is not None:
        classes = getattr(below, "classes", None)
        if isinstance(classes, Sequence) and not isinstance(classes, str) and getattr(outer, "target_transform", None) is None:
            return tuple(name if isinstance(name, str) else str(name[0] if isinstance(name, tuple) else name) for name in classes)
        below = getattr(below, "dataset", None)
    labels = listed_labels(dataset) if task == "multiclass" else None
    return numbered_class_names(max(labels) + 1) if labels else ()


def torch_dataset_to_images(
    dataset: Any,
    name: str,
    *,
    workers: int | None = None,
    layout: str | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    keys: SampleKeys = NO_KEYS,
    task: Task = "multiclass",
) -> ImageDataset:
    """Return a torch data set with random access as images, which are read when needed.

    Classes are its `classes`, or as many numbers as its `targets` or the multi-hot labels of its first readable sample need, or the
    classifier's. collate, keys, task: as in TorchImageSource.
    """
    source, classes = TorchImageSource(dataset, name, collate, keys, task), class_names_of(dataset, task)
    if task == "multilabel" and not classes:
        classes = _numbered_labels(source)
    return ImageDataset(name, source, classes, workers=workers, layout=layout)


def _numbered_labels(source: TorchImageSource) -> tuple[str, ...]:
    """Return numbers for the labels of the first readable sample; raise DataError if no sample can be read."""
    reason = "no sample"
    for index in range(len(source)):
        try:
            label = source.read(index)[1]
        except UnreadableError as error:
            reason = str(error) if reason == "no sample" else reason
        else:
            return numbered_class_names(len(label) if isinstance(label, tuple) else 0)
    raise DataError(f"data must have a sample that can be read, got none in {source.path(0)}: {reason}")
