"""Images that are decoded when they are needed, so that a data set of any size needs little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.data.dataset import (
    GREY_NOTE,
    SIGNAL_NOTE,
    BadSample,
    Batch,
    LoadedDataset,
    has_equal_channels,
    printable_name,
)
from robustbench_fgsm.data.decode_workers import map_in_order
from robustbench_fgsm.data.decoding import PixelArray, UnreadableError, decode_image, image_to_pixels, is_grey
from robustbench_fgsm.data.image_hashes import UNREAD_HASH, hash_sample
from robustbench_fgsm.errors import DataError, first_line
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.spec import MAX_CLASSES, PIXEL_BOUNDS, Bounds, Task, task_of

GREY_CHECK_SAMPLES = 32
"""Images, spread evenly, that are opened to learn whether a data set is grey."""


Label = int | tuple[int, ...]
"""Class of an image, or its multi-hot labels."""


class ImageSource(Protocol):
    """Labelled images by index; picklable, because worker processes read from it."""

    @property
    def fingerprint(self) -> str:
        """Return a SHA-256 that distinguishes these data from other data."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Any, Label]:
        """Return an image, as the bytes of its file or as `image_to_pixels` takes it, and its label.

        Raises UnreadableError if the sample is unreadable; OSError if the file cannot be read.
        """

    def path(self, index: int) -> str:
        """Return the location of an image, for readers."""

    def labels(self) -> Sequence[Label]:
        """Return all labels, by index; below 0 if there is none."""


@dataclass(frozen=True)
class DecodedBlock:
    """Decoded images of one block, as a worker process returns them, with their hashes: uint8 (N, C, H, W) if possible."""

    images: PixelArray
    labels: list[Label]
    ids: list[int]
    hashes: list[int]
    bad: tuple[BadSample, ...]


@dataclass(frozen=True)
class Decoder:
    """Task of a worker process: read, decode and stack the images at the given indices."""

    source: ImageSource
    channels: int
    preprocessing: Preprocessing | None
    num_classes: int | None
    layout: str | None = None
    knows_classes: bool = True
    """Whether the source says its classes, so that a label beyond them is a fault of one sample."""

    def __call__(self, indices: Sequence[int]) -> DecodedBlock:
        """Return the images at these indices."""
        images, labels, ids, hashes, bad = [], [], [], [], []
        for index in indices:
            found = UNREAD_HASH
            try:
                image, label = self.source.read(index)
                found = hash_sample(image, label)
                pixels = self._decode_sample(image, label)
            except (UnreadableError, OSError) as error:
                reason = getattr(error, "strerror", None) or first_line(error)
                bad.append(BadSample(printable_name(self.source.path(index)), reason, found))
                continue
            images.append(pixels)
            labels.append(label)
            ids.append(index)
            hashes.append(found)
        check_same_shape(images, [self.source.path(index) for index in ids])
        stacked = np.stack(images) if images else np.empty((0, self.channels, 0, 0), np.uint8)
        return DecodedBlock(stacked, labels, ids, hashes, tuple(bad))

    def _decode_sample(self, image: Any, label: Label) -> PixelArray:
        if isinstance(label, tuple):
            if len(label) != self.num_classes:
                raise UnreadableError(f"{len(label)} labels in place of {self.num_classes}")
        elif not 0 <= label < (self.num_classes or MAX_CLASSES):
            if label >= 0 and self.num_classes and not self.knows_classes:
                raise DataError(self._label_text(label))
            raise UnreadableError(f"label {label} is none of the {self.num_classes or MAX_CLASSES:,} classes")
        if isinstance(image, bytes):
            return decode_image(image, self.channels, self.preprocessing)
        return self._to_channels(image_to_pixels(image, self.preprocessing, self.layout))

    def _label_text(self, label: int) -> str:
        """Return the error for a label that the classifier has not, in data that do not say their classes."""
        remedy = "choose a model of more classes, or leave out the images of other classes"
        if label == self.num_classes:
            remedy = f"if they count classes from 1, pass --labels-from 1 (in Python, load_data(..., labels_from=1)); else {remedy}"
        return f"labels must lie in [0, {self.num_classes}), got {label} for an image: {remedy}"

    def _to_channels(self, pixels: PixelArray) -> PixelArray:
        if self.channels == 1 and pixels.ndim == 3 and len(pixels) == 3:
            if not (pixels == pixels[:1]).all():
                raise UnreadableError("a colour image among grey ones")
            return pixels[:1]
        return pixels


@dataclass(frozen=True)
class Hasher:
    """Task of a worker process: read the samples at the given indices, and hash their bytes, without decoding them."""

    source: ImageSource

    def __call__(self, indices: Sequence[int]) -> list[int]:
        """Return the hash of each sample, as the `Decoder` gives it."""
        return [self._hash(index) for index in indices]

    def _hash(self, index: int) -> int:
        try:
            return hash_sample(*self.source.read(index))
        except (UnreadableError, OSError):
            return UNREAD_HASH


def check_same_shape(images: Sequence[PixelArray], paths: Sequence[str]) -> None:
    """Raise DataError, with two examples, unless all images have one shape."""
    for image, path in zip(images, paths, strict=True):
        if image.shape != images[0].shape:
            first, other = (" x ".join(map(str, found.shape)) for found in (images[0], image))
            raise DataError(
                f"images must all have one shape, got {first} ({paths[0]}) and {other} ({path}): "
                "pass --image-size N, which resizes and crops, with the size of the training images, often 224"
            )


class ImageDataset(LoadedDataset):
    """Images of a source, decoded one batch at a time, by worker processes if there are any.

    Images are grey only if all sampled images are grey; otherwise they are RGB.

    Args:
        name: name in reports.
        source: labelled images by index.
        classes: names in the order of the labels; empty if the number of classes is unknown.
        workers: processes that decode images; None for as many as help.
        layout: axes of a batch of arrays that the source returns; None to infer them from the shape.
        preprocessing: resizing and cropping; None if all images have one size.
    """

    bounds: Bounds = PIXEL_BOUNDS
    """Range into which 8-bit images are put."""

    notes: tuple[str, ...] = ()
    """What was done to the images to fit a classifier, for the warnings of a result."""

    def __init__(
        self,
        name: str,
        source: ImageSource,
        classes: tuple[str, ...],
        *,
        workers: int | None = None,
        layout: str | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.name = name
        self.classes = classes
        self.workers = workers
        self.layout = layout
        self.preprocessing = preprocessing
        self._source = source
        self._own_classes = classes
        self._table: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self._source)

    @property
    def task(self) -> Task:
        """Return whether an image has one class or any number of labels."""
        return task_of(self._source)

    @property
    def knows_labels(self) -> bool:
        """Return True if no image must be decoded for its label."""
        return bool(getattr(self._source, "knows_labels", True))

    @property
    def labels(self) -> Tensor:
        """Return the label of each image, int64 (N,), or multi-hot labels (N, K); below 0 if there is none."""
        labels = torch.as_tensor(np.asarray(self._source.labels(), dtype=np.int64))
        if self._table is None:
            return labels
        known = (labels >= 0) & (labels < len(self._table))
        return torch.where(known, torch.tensor(self._table, dtype=torch.int64)[labels.where(known, 0)], -1)

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of class names, preprocessing and the source's fingerprint: not of the bytes of every image."""
        identity = (self._own_classes, self._table, self.preprocessing, self._source.fingerprint)
        return hashlib.sha256(repr(identity).encode()).hexdigest()

    @property
    def source(self) -> ImageSource:
        """Return where the images come from."""
        return self._source

    @cached_property
    def _channels(self) -> int:
        """Return 1 if every sampled image file is grey, else 3; images of other kinds have their own channels."""
        grey = []
        for index in {int(position) for position in np.linspace(0, len(self) - 1, min(GREY_CHECK_SAMPLES, len(self)))}:
            try:
                image = self._source.read(index)[0]
                if not isinstance(image, bytes):
                    break
                grey.append(is_grey(image))
            except (UnreadableError, OSError):  # counted when its turn comes
                continue
        return 1 if grey and all(grey) else 3

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Yield images start to stop (exclusive), at most `size` at a time, in order, without unreadable samples."""
        return self.take(range(start, min(stop, len(self))), size)

    def take(self, indices: Sequence[int], size: int) -> Iterator[Batch]:
        """Yield the images at these indices, in the given order, at most `size` at a time."""
        decoder = Decoder(self._source, self._channels, self.preprocessing, self._num_labels, self.layout, bool(self._own_classes))
        blocks = [list(indices[low : low + size]) for low in range(0, len(indices), size)]
        first: list[tuple[PixelArray, str]] = []
        for block in map_in_order(decoder, blocks, self.workers):
            if len(block.images):
                here = block.images[0], self._source.path(block.ids[0])
                first = first or [here]
                check_same_shape((first[0][0], here[0]), (first[0][1], here[1]))
            yield self._batch(block)

    @property
    def _num_labels(self) -> int | None:
        """Return the number of labels that the source may have, None if unknown."""
        return (len(self.classes) or None) if self._table is None else len(self._table)

    def _batch(self, block: DecodedBlock) -> Batch:
        images = torch.from_numpy(block.images)
        labels = torch.tensor(block.labels, dtype=torch.int64)
        if self._table is not None:
            labels = torch.tensor(self._table, dtype=torch.int64)[labels]
        elif self.task == "multilabel" and not len(labels):
            labels = labels.reshape(0, len(self.classes))
        return Batch(
            levels_to_pixels(images, self.bounds) if images.dtype == torch.uint8 else images.float(),
            labels,
            torch.tensor(block.ids, dtype=torch.int64),
            block.bad,
            torch.tensor(block.hashes, dtype=torch.int64),
        )

    def hash_blocks(self, blocks: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Yield the hashes of the samples at the indices of each block, unreadable ones too; no image is decoded."""
        return map_in_order(Hasher(self._source), blocks, self.workers)

    def path(self, index: int) -> str:
        """Return the location of an image, for readers."""
        return printable_name(self._source.path(index))

    def with_bounds(self, bounds: Bounds) -> ImageDataset:
        """Return the images with 8-bit levels put into these bounds; the fingerprint does not change."""
        return self._copy_with(bounds=bounds)

    def with_preprocessing(self, preprocessing: Preprocessing) -> ImageDataset:
        """Return the images with this resizing and cropping."""
        return self._copy_with(preprocessing=preprocessing)

    def with_class_names(self, classes: tuple[str, ...]) -> ImageDataset:
        """Return the images under other class names, at least as many; the fingerprint does not change."""
        return self._copy_with(classes=classes)

    def relabelled(self, table: Sequence[int], classes: tuple[str, ...]) -> ImageDataset:
        """Return the images with table[label] in place of each label."""
        return self._copy_with(classes=classes, _own_classes=classes, _table=tuple(table))

    @property
    def may_have_other_forms(self) -> bool:
        """Return True if a network may take the images in another form."""
        return self._channels != 1

    def other_forms(self) -> Iterator[ImageDataset]:
        """Yield other forms in which a network may take the images: signals (C, L), and one channel of equal ones.

        Each form has the note that reports show if it is used. An image whose channels differ is then unreadable.
        """
        first = next((batch.images for batch in self.batches(0, min(8, len(self)), 8) if len(batch)), None)
        if first is None or first.ndim != 4:
            return
        if self.layout is None and first.shape[1] == 1 and self._channels != 1:
            yield self._copy_with(layout="NCL", notes=(SIGNAL_NOTE,))
        if first.shape[1] == 3 and has_equal_channels(first):
            yield self._copy_with(_channels=1, notes=(GREY_NOTE,))
