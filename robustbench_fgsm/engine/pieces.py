"""Data in pieces, and what is recorded of each: enough to derive every count from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import BadSample, Batch
from robustbench_fgsm.engine.outcomes import Counter, Sighting
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.stats.tally import Counts, Flags

BATCHES_ON_GPU = 8
"""Batches of a piece on a GPU, where images that get a second look would else cost as much as the batch they come from."""

Integers = NDArray[np.integer[Any]]


def piece_size(plan: Plan, device: torch.device) -> int:
    """Images of a piece: one batch, which is what a killed run loses, or on a GPU, where that is soon done, eight."""
    return plan.batch_size * (BATCHES_ON_GPU if device.type == "cuda" else 1)


@dataclass(frozen=True)
class Pieces:
    """n images in pieces: blocks of `size` indices, aligned to 0, the last one shorter."""

    n: int
    size: int

    def __len__(self) -> int:
        return (self.n + self.size - 1) // self.size

    def span(self, number: int) -> range:
        """Indices of the images of one piece."""
        return range(number * self.size, min((number + 1) * self.size, self.n))

    def runs(self, numbers: Counts) -> Iterator[range]:
        """Ascending numbers of pieces as ranges of numbers that follow each other."""
        if len(numbers):
            breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
            for run in np.split(numbers, breaks):
                yield range(int(run[0]), int(run[-1]) + 1)


@dataclass(frozen=True)
class Seen:
    """What one attack did to the N images of a piece, at E budgets.

    before: (N,) predicted classes; after: (N, E). targets: (N,), None where untargeted. zero, nonfinite, saturated: (N,)
    bool. stable: (S, E), predicted classes of the S saturated images along exact gradients; (0, E) where that was not
    asked. decided_again: images that the guard of the plan gave the plain layout.
    """

    before: Integers
    after: Integers
    targets: Integers | None
    zero: Flags
    nonfinite: Flags
    saturated: Flags
    stable: Integers
    decided_again: int = 0


@dataclass(frozen=True)
class PieceRecord:
    """A finished piece: ids and labels (N,) of its images in ascending order of ids, and what each attack did to them.

    bad: samples that belong here and could not be had. seconds: that it took.
    """

    number: int
    ids: Counts
    labels: Integers
    attacks: tuple[Seen, ...]
    bad: tuple[BadSample, ...] = ()
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.ids)


class PieceStore(Protocol):
    """Where finished pieces are kept, so that a run that was stopped goes on from there."""

    def records(self) -> Iterator[PieceRecord]:
        """Pieces that were kept before, each once, in ascending order of numbers."""

    def keep(self, record: PieceRecord) -> None:
        """Keep one more; raises ResourceError where that cannot be."""


class Nowhere:
    """A store that keeps nothing."""

    def records(self) -> Iterator[PieceRecord]:
        """None."""
        return iter(())

    def keep(self, record: PieceRecord) -> None:
        """Forget it."""


class Collector:
    """What one attack did to the images of one piece, in the order in which that was settled."""

    def __init__(self, budgets: int, *, targeted: bool) -> None:
        self._targeted, self._budgets = targeted, budgets
        self._ordinary: list[Sighting] = []
        self._stable: list[Sighting] = []
        self._again = 0

    def add(self, seen: Sighting, *, stable: bool) -> None:
        """These images; of those with exact gradients only the saturated ones, for the others have none of their own."""
        seen = seen.at(seen.saturated) if stable else seen
        if len(seen):
            (self._stable if stable else self._ordinary).append(seen.bare())

    def add_decided_again(self, images: int) -> None:
        """So many were decided again."""
        self._again += images

    def seen(self) -> tuple[Counts, Counts, Seen]:
        """Ids and labels (N,) by ascending id, and what was seen of these images."""
        whole = Sighting.join(self._ordinary)
        whole = whole.at(torch.argsort(whole.batch.ids, stable=True))
        stable = torch.empty((0, self._budgets), dtype=torch.int64)
        if self._stable:
            mended = Sighting.join(self._stable)
            stable = mended.after[torch.argsort(mended.batch.ids, stable=True)]
        flags = whole.zero.numpy(), whole.nonfinite.numpy(), whole.saturated.numpy()
        targets = whole.aim.numpy() if self._targeted else None
        seen = Seen(whole.before.numpy(), whole.after.numpy(), targets, *flags, stable.numpy(), self._again)
        return whole.batch.ids.numpy(), whole.batch.labels.numpy(), seen


def record_of(number: int, collectors: Sequence[Collector], bad: Sequence[BadSample], seconds: float) -> PieceRecord:
    """The record of a piece of at least one image."""
    parts = [collector.seen() for collector in collectors]
    ids, labels, _ = parts[0]
    return PieceRecord(number, ids, labels, tuple(seen for _, _, seen in parts), tuple(bad), seconds)


def count_record(record: PieceRecord, counters: Sequence[Counter]) -> None:
    """Count a piece from what is recorded of it; one counter for each attack."""
    if not len(record):
        return
    labels, ids = torch.from_numpy(record.labels.astype(np.int64)), torch.from_numpy(record.ids)
    nothing = torch.empty(len(record), 0)
    for seen, counter in zip(record.attacks, counters, strict=True):
        aim = record.labels if seen.targets is None else seen.targets
        zero, nonfinite, saturated = (torch.from_numpy(flag) for flag in (seen.zero, seen.nonfinite, seen.saturated))
        sighting = Sighting(
            Batch(nothing, labels, ids),
            torch.from_numpy(seen.before.astype(np.int64)),
            torch.from_numpy(seen.after.astype(np.int64)),
            torch.from_numpy(aim.astype(np.int64)),
            zero,
            nonfinite,
            saturated,
            nothing.bool(),
            nothing.bool(),
            nothing,
        )
        counter.add(sighting, stable=False)
        counter.add_decided_again(seen.decided_again)
        if len(seen.stable):
            stable = torch.from_numpy(seen.stable.astype(np.int64))
            rows = sighting.saturated.nonzero().squeeze(1)
            sighting = Sighting(**vars(sighting) | {"after": sighting.after.index_copy(0, rows, stable)})
        counter.add(sighting, stable=True)
