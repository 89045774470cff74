"""`factory:pkg.mod:fn` or `factory:file.py:fn`: a user's own function that returns a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from robustbench_fgsm.data.class_names import numbered_class_names
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.decoding import DECODER_ERRORS, UnreadableError, image_to_pixels
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.user_code import load_user_function, on_import_path

FINGERPRINT_SAMPLES = 32
"""Images, spread evenly, that tell a torch data set from others."""


class TorchImageSource:
    """Torch data set of (image, label), read one by one; images as `image_to_pixels` takes them."""

    def __init__(self, dataset: Any, name: str) -> None:
        self._dataset = dataset
        self._name = name

    def __len__(self) -> int:
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

    def read(self, index: int) -> tuple[Any, int]:
        """Return the image and its label; raise UnreadableError for an error of the data set."""
        try:
            image, label = self._dataset[index]
        except (*DECODER_ERRORS, RuntimeError) as error:
            raise UnreadableError(f"the data set raised {type(error).__name__}: {error}") from error
        try:
            return image, int(label)
        except (TypeError, ValueError):
            raise UnreadableError(f"its label must be an integer, got {label!r:.40}") from None

    def path(self, index: int) -> str:
        """Return the name of the factory and the index."""
        return f"{self._name}[{index}]"

    def labels(self) -> Sequence[int]:
        """Return all labels by index, from the data set's list, or from a pass over its images; -1 if there is none."""
        known = getattr(self._dataset, "targets", None)
        return self._read_labels() if known is None else [int(label) for label in known]

    def _read_labels(self) -> list[int]:
        labels = []
        for index in range(len(self)):
            try:
                labels.append(self.read(index)[1])
            except UnreadableError:
                labels.append(-1)
        return labels


def load(spec: str, options: DataOptions) -> Dataset:
    """Return what the function returns: a Dataset, or a torch data set of (image, label), whose images are read when needed.

    Classes of a torch data set are its `classes`, or as many numbers as its `targets` need, or the classifier's. Raises DataError
    if there is no such function, or it returns something else.
    """
    options.reject_split("factory")
    loaded = load_user_function(spec, "factory", DataError)
    with on_import_path(loaded.import_path):
        dataset = loaded.function()
    if isinstance(dataset, Dataset):
        return dataset
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise DataError(f"factory {spec} must return a Dataset or a torch data set of (image, label), got {type(dataset).__name__}")
    classes, targets = getattr(dataset, "classes", None), getattr(dataset, "targets", None)
    if classes is None:
        classes = () if targets is None else numbered_class_names(max(int(label) for label in targets) + 1)
    source = TorchImageSource(dataset, f"factory:{spec}")
    return ImageDataset(f"factory:{spec}", source, tuple(map(str, classes)), workers=options.workers)
