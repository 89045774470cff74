"""What the rest of the package asks of a data set, and the one that lies in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from robustbench_fgsm.errors import DataError, SettingError


@dataclass(frozen=True)
class Batch:
    """images: float32 (N, C, H, W) in pixel space; labels: int64 (N,); ids: int64 (N,), the same in any order or process."""

    images: Tensor
    labels: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Tensor) -> Batch:
        """The images in rows, (N,) bool or indices."""
        return Batch(self.images[rows], self.labels[rows], self.ids[rows])


@runtime_checkable
class Dataset(Protocol):
    """Labelled images that come in batches, from any index to any other."""

    name: str
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of images, labels and class names: the same data have the same one anywhere."""

    def __len__(self) -> int: ...

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Images start to stop (exclusive), at most `size` at a time, in order."""

    def __iter__(self) -> Iterator[Batch]: ...


class ArrayDataset:
    """Images that lie in memory (or in a mapped file) as they were stored, and become float32 a batch at a time.

    images: (N, H, W) or (N, C, H, W), uint8, or floating point in pixel space. labels: (N,) integers below the number of
    class names. Raises DataError for anything else.
    """

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
        self._images = images if images.ndim == 4 else images.unsqueeze(1)
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names, shape, dtype, images and labels."""
        digest = hashlib.sha256(repr((self.classes, tuple(self._images.shape), str(self._images.dtype))).encode())
        for part in (self._images, self._labels.to(torch.int64)):
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Images start to stop (exclusive), at most `size` at a time, in order."""
        for low in range(start, min(stop, len(self)), size):
            rows = slice(low, min(low + size, stop, len(self)))
            stored = self._images[rows]
            images = stored.float().div_(255) if stored.dtype == torch.uint8 else stored.float()
            yield Batch(images, self._labels[rows].to(torch.int64), torch.arange(rows.start, rows.stop))

    def __iter__(self) -> Iterator[Batch]:
        return self.batches(0, len(self), 128)

    def head(self, limit: int | None) -> ArrayDataset:
        """The first `limit` images, or all of them where it is None; raises SettingError for less than one."""
        if limit is None:
            return self
        if limit < 1:
            raise SettingError(f"limit must be at least 1, got {limit}: leave it out for the whole data set")
        return ArrayDataset(self.name, self._images[:limit], self._labels[:limit], self.classes)


def describe(data: Dataset) -> dict[str, Any]:
    """The data set as JSON knows it."""
    return {"spec": data.name, "n": len(data), "fingerprint": data.fingerprint, "classes": list(data.classes)}
