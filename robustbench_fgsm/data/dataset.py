"""Data sets: the protocol that the package uses, and the data set in memory."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.data.axes import CHANNELS_FIRST, infer_layout, to_channels_first
from robustbench_fgsm.data.bad_sample import BadSample as BadSample
from robustbench_fgsm.data.labels import count_from_one, to_class_indices, to_multi_hot
from robustbench_fgsm.data.pixels import to_sample_tensor
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds, Task, check_task_name, is_multi_label, parse_class_names, task_of


@dataclass(frozen=True)
class Batch:
    """Images of a data set.

    Args:
        images: (N, C, H, W) float32 in the units of the classifier: [0, 1], or its bounds.
        labels: (N,) int64; of a multi-label data set multi-hot rows (N, K) of 0 and 1.
        ids: (N,) int64, which do not depend on order or process.
        bad: unreadable samples of this part of the data; they are not among the N images, and N may be 0.
        hashes: (N,) int64, of the bytes of each image as it was read; None if the data set gives no hashes.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    bad: tuple[BadSample, ...] = ()
    hashes: Tensor | None = None

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Tensor | slice) -> Batch:
        """Return the images in rows: (N,) bool, indices, or a slice, which copies nothing."""
        return Batch(
            self.images[rows], self.labels[rows], self.ids[rows], hashes=None if self.hashes is None else self.hashes[rows]
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Batch]) -> Batch:
        """Return the images of all parts, without their unreadable samples."""
        images, labels, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels", "ids"))
        hashes = [part.hashes for part in parts if part.hashes is not None]
        return cls(images, labels, ids, hashes=torch.cat(hashes) if len(hashes) == len(parts) else None)


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


class LoadedDataset(Dataset, Protocol):
    """Data set of this package, with what a result records of its loading."""

    settings: Mapping[str, Any] = {}
    """Arguments of `load_data` beside the name."""
    sample: Mapping[str, Any] | None = None
    """How the images were chosen among more, if they are not the first ones of all classes."""
    code_sha256: str = ""
    """Hash of the user's own code that makes the data; empty if there is none."""

    def __repr__(self) -> str:
        return short_repr(self, name=self.name, n=len(self), classes=len(self.classes))

    def __iter__(self) -> Iterator[Batch]:
        return self.batches(0, len(self), 128)

    def _copy_with(self, **changes: Any) -> Self:
        """Return a copy with other attributes; names of classes and bounds do not change the fingerprint."""
        other = copy.copy(self)
        other.__dict__.update(changes)
        if not set(changes) <= {"classes", "bounds"}:
            other.__dict__.pop("fingerprint", None)
        return other


class ArrayDataset(LoadedDataset):
    """Images in memory or in a mapped file, stored as they are, and converted to float32 one batch at a time.

    Args:
        name: name in reports.
        images: tensor or array, uint8, or floating point in the units of the classifier: (N, C, H, W) or (N, H, W),
            features (N, F), volumes (N, C, D, H, W), or another layout.
        labels: (N,) integers below the number of class names, or what `load_data` takes for labels.
        classes: names of the classes; empty if their number is unknown.
        layout: axes of the images, such as `NHWC`, or `NCL` for signals; None for one of the first four.
        task: `multiclass`, or `multilabel` for multi-hot labels (N, K) of 0 and 1, with a class name for each column.

    Raises:
        DataError: images or labels have another dtype, shape or range.
    """

    bounds: Bounds = PIXEL_BOUNDS
    """Range into which 8-bit images are put."""

    task: Task = "multiclass"
    """One class for each image, or any number of labels."""

    notes: tuple[str, ...] = ()
    """What was done to the images to fit a classifier, for the warnings of a result."""

    def __init__(
        self,
        name: str,
        images: object,
        labels: object,
        classes: Sequence[str],
        *,
        layout: str | None = None,
        task: Task = "multiclass",
    ) -> None:
        classes, given = parse_class_names(classes), to_sample_tensor(images, name)
        if check_task_name(task) == "multilabel":
            indices = to_multi_hot(labels, name)
            if classes and indices.shape[1] != len(classes):
                raise DataError(
                    f"{name} must name its {indices.shape[1]} labels, got {len(classes)} names: pass one for each column of the "
                    "labels"
                )
        else:
            indices = to_class_indices(labels, name, classes).indices
        if given.ndim < 2 or len(given) != len(indices):
            raise DataError(
                f"data must be images (N, C, H, W) and labels (N,), got {tuple(given.shape)} and {tuple(indices.shape)}: "
                "pass one label for each image"
            )
        if task == "multiclass" and len(indices) and classes and int(indices.max()) >= len(classes):
            remedy = "name every class"
            if count_from_one(indices, len(classes)):
                remedy = "they count classes from 1, so pass labels - 1"
            raise DataError(f"labels must lie in [0, {len(classes)}), got [{int(indices.min())}, {int(indices.max())}]: {remedy}")
        default = CHANNELS_FIRST.get(given.ndim)
        if layout is None and default is not None and (likely := infer_layout(given.shape, name, "NCHW")) != default:
            raise DataError(
                f"{name} must have images {default}, got {tuple(given.shape)}, which look like {likely}: pass layout={likely!r}, "
                f"or layout={default!r} if they have {given.shape[1]} channels"
            )
        self.name = name
        self.classes = classes
        self.layout = layout
        self.task = task
        self._own_classes = self.classes
        self._given = given
        self._images = to_channels_first(given, layout or default, name)
        self._labels = indices

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def labels(self) -> Tensor:
        """Return the label of each image, int64 (N,), or multi-hot labels (N, K)."""
        return self._labels

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of class names, shape, dtype, images and labels."""
        digest = hashlib.sha256(repr((self._own_classes, tuple(self._images.shape), str(self._images.dtype))).encode())
        for part in (self._images, self._labels):
            for low in range(0, len(part), 4096):  # so that a mapped file is never in memory as a whole
                digest.update(part[low : low + 4096].contiguous().cpu().view(torch.uint8).numpy().tobytes())
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
        return Batch(images, self._labels[rows], ids)

    def head(self, limit: int | None) -> ArrayDataset:
        """Return the first `limit` images, all of them for None; raise SettingError for a limit below 1."""
        if limit is None:
            return self
        if limit < 1:
            raise SettingError(f"limit must be at least 1, got {limit}: leave it out for the whole data set")
        return self._copy_with(_given=self._given[:limit], _images=self._images[:limit], _labels=self._labels[:limit])

    def with_bounds(self, bounds: Bounds) -> ArrayDataset:
        """Return the images with 8-bit levels put into these bounds; the fingerprint does not change."""
        return self._copy_with(bounds=bounds)

    def with_class_names(self, classes: tuple[str, ...]) -> ArrayDataset:
        """Return the images under other class names, at least as many; the fingerprint does not change."""
        return self._copy_with(classes=classes)

    def relabelled(self, table: Sequence[int], classes: tuple[str, ...]) -> ArrayDataset:
        """Return the images with table[label] in place of each label; raise DataError if that is below 0."""
        labels = to_class_indices(torch.tensor(table, dtype=torch.int64)[self._labels], self.name).indices
        return self._copy_with(_labels=labels, classes=classes, _own_classes=classes)

    @property
    def _may_be_signals(self) -> bool:
        return self.layout is None and self._given.ndim == 3 and self._given.dtype != torch.uint8

    @property
    def may_have_other_forms(self) -> bool:
        """Return True if a network may take the images in another form, as far as their shape says."""
        return self._may_be_signals or (self._images.ndim == 4 and self._images.shape[1] == 3)

    def other_forms(self) -> Iterator[ArrayDataset]:
        """Yield other forms in which a network may take the images: signals (N, C, L), and one channel of equal ones.

        Each form has the note that reports show if it is used.
        """
        if self._may_be_signals:
            yield self._copy_with(_images=self._given, layout="NCL", notes=(SIGNAL_NOTE,))
        if self._images.ndim == 4 and self._images.shape[1] == 3 and has_equal_channels(self._images):
            yield self._copy_with(_images=self._images[:, :1], notes=(GREY_NOTE,))


SIGNAL_NOTE = "arrays of two axes are taken as signals (C, L), because the model takes no images of this size"
GREY_NOTE = "the three channels of each image are equal: the grey model gets one of them"


def has_equal_channels(images: Tensor) -> bool:
    """Return True if the channels of every image (N, C, H, W) are equal; few images are read at a time."""
    return all(bool((part == part[:, :1]).all()) for part in torch.split(images, 1024))


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
    sample, code = getattr(data, "sample", None), getattr(data, "code_sha256", "")
    preprocessing = getattr(data, "preprocessing", None)
    described |= {"preprocessing": asdict(preprocessing)} if preprocessing else {}
    described |= {"settings": settings} if settings else {}
    described |= {"task": task_of(data)} if is_multi_label(data) else {}
    return described | ({"sample": dict(sample)} if sample else {}) | ({"code_sha256": code} if code else {})
