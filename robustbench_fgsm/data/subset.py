"""Subsets of a data set by index or id; images keep the ids of the whole data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.data.axes import CHANNELS_FIRST
from robustbench_fgsm.data.dataset import ArrayDataset, BadSample, Batch, Dataset, LoadedDataset, readable_batches
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.models.preprocessing import Preprocessing
from robustbench_fgsm.spec import Task, task_of


@runtime_checkable
class RandomAccess(Protocol):
    """Data set that returns any images in any order."""

    def take(self, indices: Sequence[int], size: int) -> Iterator[Batch]:
        """Yield the images at these indices, in the given order, at most `size` at a time."""


class Subset(LoadedDataset):
    """Images of a data set at these indices, in the given order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        self.name = dataset.name
        self.classes = dataset.classes

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def task(self) -> Task:
        """Return whether an image has one class or any number of labels."""
        return task_of(self.dataset)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was done to the images to fit a classifier."""
        return tuple(getattr(self.dataset, "notes", ()))

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Return the resizing and cropping of the images; None if there is none."""
        return getattr(self.dataset, "preprocessing", None)

    @property
    def labels(self) -> Tensor:
        """Return the label of each image, int64 (N,)."""
        return dataset_labels(self.dataset)[torch.as_tensor(self.indices, dtype=torch.int64)]

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the whole data set's fingerprint and the indices."""
        digest = hashlib.sha256(self.dataset.fingerprint.encode())
        digest.update(np.asarray(self.indices, dtype=np.int64).tobytes())
        return digest.hexdigest()

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Yield images start to stop (exclusive) of the subset, at most `size` at a time, in its order."""
        selected = self.indices[start : min(stop, len(self))]
        if isinstance(selected, range) and selected.step == 1:
            yield from self.dataset.batches(selected.start, selected.stop, size)
        elif isinstance(self.dataset, RandomAccess):
            yield from self.dataset.take(selected, size)
        else:
            for low in range(0, len(selected), size):
                yield _join_batches([next(self.dataset.batches(at, at + 1, 1)) for at in selected[low : low + size]])

    def take(self, indices: Sequence[int], size: int) -> Iterator[Batch]:
        """Yield the images at these indices of the subset, in the given order, at most `size` at a time."""
        return Subset(self.dataset, [self.indices[index] for index in indices]).batches(0, len(indices), size)

    def with_dataset(self, dataset: Dataset) -> Subset:
        """Return the subset with these indices of another data set."""
        other = Subset(dataset, self.indices)
        other.settings, other.sample, other.code_sha256 = self.settings, self.sample, self.code_sha256
        return other


def _join_batches(batches: Sequence[Batch]) -> Batch:
    images, labels, ids = (
        torch.cat([getattr(batch, name) for batch in batches if len(batch)] or [getattr(batches[0], name)])
        for name in ("images", "labels", "ids")
    )
    hashes = [batch.hashes for batch in batches if batch.hashes is not None]
    joined = torch.cat(hashes) if len(hashes) == len(batches) else None
    return Batch(images, labels, ids, tuple(bad for batch in batches for bad in batch.bad), joined)


def first_images(data: Dataset, limit: int | None) -> Dataset:
    """Return the first `limit` images, all of them for None; raise SettingError for a limit below 1."""
    if isinstance(data, ArrayDataset):
        return data.head(limit)
    if limit is not None and limit < 1:
        raise SettingError(f"limit must be at least 1, got {limit}: leave it out for the whole data set")
    return data if limit is None or limit >= len(data) else Subset(data, range(limit))


def sample_images(data: Dataset, size: int, *, seed: int = 0, stratified: bool = False, every_class: bool = False) -> Dataset:
    """Return `size` images drawn without replacement, in the order of the data; all of them if there are fewer.

    stratified: draw each class in proportion to its share, by largest remainders. every_class: at least one image of each class, if
    there are enough. Raises SettingError for a size below 1.
    """
    if size < 1:
        raise SettingError(f"sample must be at least 1, got {size}: leave it out for the whole data set")
    if size >= len(data):
        return data
    generator = np.random.default_rng(seed)
    if not stratified:
        return Subset(data, sorted(generator.choice(len(data), size, replace=False).tolist()))
    labels = dataset_labels(data).numpy()
    counts = np.unique(labels, return_counts=True)[1]
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    chosen: list[int] = []
    for indices, quota in zip(by_class, apportion(counts, size, every=every_class), strict=True):
        chosen += generator.choice(indices, quota, replace=False).tolist()
    return Subset(data, sorted(chosen))


def apportion(counts: Sequence[int] | np.typing.NDArray[np.int64], size: int, *, every: bool = False) -> list[int]:
    """Return `size` distributed in proportion to the counts, by largest remainders; of equal remainders the first wins.

    every: take from the largest parts so that no part is 0, if size allows it.
    """
    exact = np.asarray(counts, dtype=np.int64) * size
    total = int(np.sum(counts))
    dealt = exact // total
    order = np.argsort(-(exact % total), kind="stable")
    dealt[order[: size - int(dealt.sum())]] += 1
    while every and size >= len(dealt) and dealt.min() == 0:
        dealt[dealt.argmax()] -= 1
        dealt[dealt.argmin()] += 1
    found: list[int] = dealt.tolist()
    return found


def whole_dataset(data: Dataset) -> Dataset:
    """Return the data set of which the data are a subset, or the data."""
    while isinstance(data, Subset):
        data = data.dataset
    return data


def dataset_labels(data: Dataset) -> Tensor:
    """Return the label of each image, int64 (N,), from the data set, or from a pass over all images."""
    known = getattr(data, "labels", None)
    if isinstance(known, Tensor):
        return known
    labels = torch.full((len(data),), -1, dtype=torch.int64)
    for start in range(0, len(data), 128):
        for index, batch in enumerate(data.batches(start, start + 128, 1), start):
            labels[index : index + len(batch)] = batch.labels
    return labels


class IdSubset(LoadedDataset):
    """Images of a data set with the given ids, in the order of the data set; held in memory.

    The fingerprint covers these images alone. Unreadable samples, whose ids are unknown, come with the first batch. Raises
    DataError if the data set has none of the ids.
    """

    def __init__(self, dataset: Dataset, ids: Tensor) -> None:
        bad: list[BadSample] = []
        found = [batch.at(torch.isin(batch.ids, ids)) for batch in readable_batches(dataset, 0, len(dataset), 128, bad)]
        self._ids = torch.cat([batch.ids for batch in found])
        self._bad = tuple(bad)
        if not len(self._ids):
            some = ", ".join(str(id_) for id_ in ids[:3].tolist())
            raise DataError(f"ids must be of images in {dataset.name}, got {some} and no other that is: check the data set")
        images, labels = (torch.cat([getattr(batch, name) for batch in found]) for name in ("images", "labels"))
        layout = CHANNELS_FIRST.get(images.ndim)
        self._kept = ArrayDataset(dataset.name, images, labels, dataset.classes, layout=layout, task=task_of(dataset))
        self.task = self._kept.task
        self.name = dataset.name
        self.classes = dataset.classes

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of class names, and of shape, dtype, images and labels of the subset."""
        return self._kept.fingerprint

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Yield images start to stop (exclusive) of the subset, at most `size` at a time, in order."""
        for batch in self._kept.batches(start, stop, size):
            yield Batch(batch.images, batch.labels, self._ids[batch.ids], () if batch.ids[0] else self._bad)
