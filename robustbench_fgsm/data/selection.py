"""Some images of a data set, which stay what they are there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustbench_fgsm.data.dataset import ArrayDataset, BadSample, Batch, Dataset, readable
from robustbench_fgsm.errors import DataError


class Selection:
    """The images of a data set that have the ids given, in the order of the data set, with their ids; held in memory.

    Its fingerprint is that of these images alone. Samples that cannot be read come with its first batch, whose id nobody
    can know. Raises DataError where the data set has none of the ids.
    """

    def __init__(self, whole: Dataset, ids: Tensor) -> None:
        bad: list[BadSample] = []
        found = [batch.at(torch.isin(batch.ids, ids)) for batch in readable(whole, 0, len(whole), 128, bad)]
        self._ids = torch.cat([batch.ids for batch in found])
        self._bad = tuple(bad)
        if not len(self._ids):
            some = ", ".join(str(id_) for id_ in ids[:3].tolist())
            raise DataError(
                f"ids must be of images in {whole.name}, got {some} and no other that is: check the data set"
            )
        images, labels = (torch.cat([getattr(batch, name) for batch in found]) for name in ("images", "labels"))
        self._kept = ArrayDataset(whole.name, images, labels, whole.classes)
        self.name = whole.name
        self.classes = whole.classes

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over class names, and shape, dtype, images and labels of the selection."""
        return self._kept.fingerprint

    def batches(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        """Images start to stop (exclusive) of the selection, at most `size` at a time, in order."""
        for batch in self._kept.batches(start, stop, size):
            yield Batch(batch.images, batch.labels, self._ids[batch.ids], () if batch.ids[0] else self._bad)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches(0, len(self), 128)
