"""Data in pieces, and what is recorded of each: enough to derive every count from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import BadSample, Batch
from robustbench_fgsm.engine.outcomes import BatchOutcomes, OutcomeCounter
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.stats.tally import BoolArray, Int64Array

BATCHES_PER_PIECE_ON_GPU = 8
"""Batches of a piece on a GPU, where images that get a second look would else cost as much as the batch they come from."""

IntArray = NDArray[np.integer[Any]]


def piece_size(plan: Plan, device: torch.device) -> int:
    """Images of a piece: one batch, which is what a killed run loses, or on a GPU, where that is soon done, eight."""
    return plan.batch_size * (BATCHES_PER_PIECE_ON_GPU if device.type == "cuda" else 1)


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

    def consecutive_ranges(self, piece_numbers: Int64Array) -> Iterator[range]:
        """Ascending numbers of pieces as ranges of numbers that follow each other."""
        if len(piece_numbers):
            breaks = np.flatnonzero(np.diff(piece_numbers) != 1) + 1
            for run in np.split(piece_numbers, breaks):
                yield range(int(run[0]), int(run[-1]) + 1)


@dataclass(frozen=True)
class PieceOutcomes:
    """What one attack did to the N images of a piece, at E budgets.

    before: (N,) predicted classes; after: (N, E). targets: (N,), None where untargeted. zero, nonfinite, saturated: (N,)
    bool. stable: (S, E), predicted classes of the S saturated images along exact gradients; (0, E) where that was not
    asked. decided_again: images that the guard of the plan gave the plain layout.
    """

    before: IntArray
    after: IntArray
    targets: IntArray | None
    zero_gradient: BoolArray
    nonfinite_gradient: BoolArray
    saturated: BoolArray
    after_stable: IntArray
    decided_again: int = 0


@dataclass(frozen=True)
class PieceRecord:
    """A finished piece: ids and labels (N,) of its images in ascending order of ids, and what each attack did to them.

    bad: samples that belong here and could not be had. seconds: that it took.
    """

    number: int
    ids: Int64Array
    labels: IntArray
    outcomes_per_attack: tuple[PieceOutcomes, ...]
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


class NullStore:
    """A store that keeps nothing."""

    def records(self) -> Iterator[PieceRecord]:
        """None."""
        return iter(())

    def keep(self, record: PieceRecord) -> None:
        """Forget it."""


class PieceCollector:
    """What one attack did to the images of one piece, in the order in which that was settled."""

    def __init__(self, num_budgets: int, *, targeted: bool) -> None:
        self._targeted, self._num_budgets = targeted, num_budgets
        self._ordinary: list[BatchOutcomes] = []
        self._stable: list[BatchOutcomes] = []
        self._decided_again = 0

    def add(self, outcomes: BatchOutcomes, *, stable: bool) -> None:
        """These images; of those with exact gradients only the saturated ones, for the others have none of their own."""
        outcomes = outcomes.at(outcomes.saturated) if stable else outcomes
        if len(outcomes):
            (self._stable if stable else self._ordinary).append(outcomes.without_images())

    def add_decided_again(self, count: int) -> None:
        """So many were decided again."""
        self._decided_again += count

    def piece_outcomes(self) -> tuple[Int64Array, Int64Array, PieceOutcomes]:
        """Ids and labels (N,) by ascending id, and what was seen of these images."""
        whole = BatchOutcomes.concatenate(self._ordinary)
        whole = whole.at(torch.argsort(whole.batch.ids, stable=True))
        stable = torch.empty((0, self._num_budgets), dtype=torch.int64)
        if self._stable:
            mended = BatchOutcomes.concatenate(self._stable)
            stable = mended.after[torch.argsort(mended.batch.ids, stable=True)]
        flags = whole.zero_gradient.numpy(), whole.nonfinite_gradient.numpy(), whole.saturated.numpy()
        targets = whole.labels_or_targets.numpy() if self._targeted else None
        seen = PieceOutcomes(whole.before.numpy(), whole.after.numpy(), targets, *flags, stable.numpy(), self._decided_again)
        return whole.batch.ids.numpy(), whole.batch.labels.numpy(), seen


def make_piece_record(number: int, collectors: Sequence[PieceCollector], bad: Sequence[BadSample], seconds: float) -> PieceRecord:
    """The record of a piece of at least one image."""
    parts = [collector.piece_outcomes() for collector in collectors]
    ids, labels, _ = parts[0]
    return PieceRecord(number, ids, labels, tuple(seen for _, _, seen in parts), tuple(bad), seconds)


def count_record(record: PieceRecord, counters: Sequence[OutcomeCounter]) -> None:
    """Count a piece from what is recorded of it; one counter for each attack."""
    if not len(record):
        return
    labels, ids = torch.from_numpy(record.labels.astype(np.int64)), torch.from_numpy(record.ids)
    nothing = torch.empty(len(record), 0)
    for seen, counter in zip(record.outcomes_per_attack, counters, strict=True):
        aim = record.labels if seen.targets is None else seen.targets
        zero, nonfinite, saturated = (
            torch.from_numpy(flag) for flag in (seen.zero_gradient, seen.nonfinite_gradient, seen.saturated)
        )
        sighting = BatchOutcomes(
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
        if len(seen.after_stable):
            stable = torch.from_numpy(seen.after_stable.astype(np.int64))
            rows = sighting.saturated.nonzero().squeeze(1)
            sighting = BatchOutcomes(**vars(sighting) | {"after": sighting.after.index_copy(0, rows, stable)})
        counter.add(sighting, stable=True)
