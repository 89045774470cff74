"""Data sets: the protocol that the package uses, and the data set in memory."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

MAX_CLASSES = 1_000_000
"""Labels from here on are no class indices."""


@dataclass(frozen=True)
class BadSample:
    """Unreadable sample: its path, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Images of a data set.

    Args:
        images: (N, C, H, W) float32 in the units of the classifier: [0, 1], or its bounds.
        labels: (N,) int64.
        ids: (N,) int64, which do not depend on order or process.
        bad: unreadable samples of this part of the data; they are not among the N images, and N may be 0.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    bad: tuple[BadSample, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Tensor | slice) -> Batch:
        """Return the images in rows: (N,) bool, indices, or a slice, which copies nothing."""
        return Batch(self.images[rows], self.labels[rows], self.ids[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[Batch]) -> Batch:
        """Return the images of all parts, without their unreadable samples."""
        images, labels, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels", "ids"))
        return cls(images, labels, ids)


@runtime_checkable
class Dataset(Protocol):
    """Labelled images in batches, from any index to any other."""

    name: str
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Return a SHA-256 that is equal for equal data on any machine; each data set documents what it covers."""

    def __len__(self) -> int: ...

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Yield images start to stop (exclusive), at most `size` at a time, in order."""

    def __iter__(self) -> Iterator[Batch]: ...


class ArrayDataset:
    """Images in memory or in a mapped file, stored as they are, and converted to float32 one batch at a time.

    Args:
        name: name in reports.
        images: (N, H, W) or (N, C, H, W), uint8, or floating point in the units of the classifier.
        labels: (N,) integers below the number of class names.
        classes: names of the classes.

    Raises:
        DataError: images or labels have another dtype, shape or range.
    """

    settings: Mapping[str, Any] = {}
    """What `load_data` was asked for beside the name."""

    bounds: Bounds = PIXEL_BOUNDS
    """Range into which 8-bit images are put."""

    def __init__(self, name: str, images: Tensor, labels: Tensor, classes: tuple[str, ...]) -> None:
        if images.ndim not in (3, 4) or len(images) != len(labels) or labels.ndim != 1:
            raise DataError(
                f"data must be images (N, C, H, W) and labels (N,), got {tuple(images.shape)} and {tuple(labels.shape)}"
            )
        if not (images.dtype == torch.uint8 or images.is_floating_point()):
            raise DataError(f"images must be uint8 or floating point in pixel space, got {images.dtype}")
        if labels.dtype == torch.bool or labels.is_floating_point():
            raise DataError(f"labels must be integers, got {labels.dtype}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
            raise DataError(
                f"labels must lie in [0, {len(classes)}), got [{int(labels.min())}, {int(labels.max())}]: name every class"
            )
        self.name = name
        self.classes = classes
        self._own_classes = classes
        self._images = images if images.ndim == 4 else images.unsqueeze(1)
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def labels(self) -> Tensor:
        """Return the label of each image, int64 (N,)."""
        return self._labels.to(torch.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of class names, shape, dtype, images and labels."""
        digest = hashlib.sha256(repr((self._own_classes, tuple(self._images.shape), str(self._images.dtype))).encode())
        for part in (self._images, self._labels.to(torch.int64)):
            for low in range(0, len(part), 4096):  # so that a mapped file is never in memory as a whole
                digest.update(part[low : low + 4096].contiguous().numpy().tobytes())
        return digest.hexdigest()

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Yield images start to stop (exclusive), at most `size` at a time, in order."""
        for low in range(start, min(stop, len(self)), size):
            rows = slice(low, min(low + size, stop, len(self)))
            yield self._batch(rows, torch.arange(rows.start, rows.stop))

    def take(self, indices: Sequence[int], size: int) -> Iterator[Batch]:
        """Yield the images at these indices, in the given order, at most `size` at a time."""
        for low in range(0, len(indices), size):
            ids = torch.as_tensor(indices[low : low + size], dtype=torch.int64)
            yield self._batch(ids, ids)

    def _batch(self, rows: slice | Tensor, ids: Tensor) -> Batch:
        stored = self._images[rows]
        images = levels_to_pixels(stored, self.bounds) if stored.dtype == torch.uint8 else stored.float()
        return Batch(images, self._labels[rows].to(torch.int64), ids)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches(0, len(self), 128)

    def head(self, limit: int | None) -> ArrayDataset:
        """Return the first `limit` images, all of them for None; raise SettingError for a limit below 1."""
        if limit is None:
            return self
        if limit < 1:
            raise SettingError(f"limit must be at least 1, got {limit}: leave it out for the whole data set")
        first = ArrayDataset(self.name, self._images[:limit], self._labels[:limit], self._own_classes)
        return first.with_class_names(self.classes)

    def with_bounds(self, bounds: Bounds) -> ArrayDataset:
        """Return the images with 8-bit levels put into these bounds; the fingerprint does not change."""
        other = copy.copy(self)
        other.bounds = bounds
        return other

    def with_class_names(self, classes: tuple[str, ...]) -> ArrayDataset:
        """Return the images under other class names, at least as many; the fingerprint does not change."""
        other = copy.copy(self)
        other.classes = classes
        return other

    def relabelled(self, table: Sequence[int], classes: tuple[str, ...]) -> ArrayDataset:
        """Return the images with table[label] in place of each label."""
        return ArrayDataset(self.name, self._images, torch.tensor(table, dtype=torch.int64)[self.labels], classes)


def readable_batches(data: Dataset, start: int, stop: int, size: int, bad: list[BadSample]) -> Iterator[Batch]:
    """Yield batches of the data that have images; unreadable samples are added to `bad`."""
    return keep_readable(data.batches(start, stop, size), bad)


def keep_readable(batches: Iterator[Batch], bad: list[BadSample]) -> Iterator[Batch]:
    """Yield the batches that have images; unreadable samples are added to `bad`."""
    for batch in batches:
        bad += batch.bad
        if len(batch):
            yield batch


def printable_name(name: str) -> str:
    """Return a file's name as valid text: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def first_readable_batch(data: Dataset, size: int) -> Batch:
    """Return the first batch that has images; raise DataError if there are no readable images."""
    bad: tuple[BadSample, ...] = ()
    for batch in data.batches(0, len(data), size):
        if len(batch):
            return batch
        bad += batch.bad
    if not bad:
        raise DataError(f"data must hold at least one image, got none in {data.name}")
    raise DataError(f"data must hold an image that can be read, got {len(bad):,} bad ones, first {bad[0].path}: {bad[0].reason}")


def describe_data(data: Dataset) -> dict[str, Any]:
    """Return the data set's entry of a JSON document."""
    described = {"spec": data.name, "n": len(data), "fingerprint": data.fingerprint, "classes": list(data.classes)}
    settings = dict(getattr(data, "settings", {}))  # which data sets of others need not have
    return described | ({"settings": settings} if settings else {})
