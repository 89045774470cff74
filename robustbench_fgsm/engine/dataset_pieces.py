"""Pieces of a data set, and the record of a finished piece, from which every count follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from robustbench_fgsm.data.bad_sample import BadSample
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.stats.audit import AuditCounts
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array

if TYPE_CHECKING:
    import torch

    from robustbench_fgsm.engine.plan import Plan

BATCHES_PER_PIECE_ON_GPU = 8
"""Batches of a piece on a GPU. In a smaller piece, images that are computed again would cost as much as their batch."""


def piece_size(plan: Plan, device: torch.device) -> int:
    """Return the images of a piece: one batch, which a killed run loses; on a GPU, where a batch is short, eight."""
    return plan.batch_size * (BATCHES_PER_PIECE_ON_GPU if device.type == "cuda" else 1)


@dataclass(frozen=True)
class Pieces:
    """Division of n images into pieces: blocks of `size` indices, aligned to 0, the last one shorter."""

    n: int
    size: int

    def __len__(self) -> int:
        return (self.n + self.size - 1) // self.size

    def span(self, number: int) -> range:
        """Return the indices of the images of one piece."""
        return range(number * self.size, min((number + 1) * self.size, self.n))

    def consecutive_ranges(self, piece_numbers: Int64Array) -> Iterator[range]:
        """Yield ascending piece numbers as ranges of numbers that follow each other."""
        if len(piece_numbers):
            breaks = np.flatnonzero(np.diff(piece_numbers) != 1) + 1
            for part in np.split(piece_numbers, breaks):
                yield range(int(part[0]), int(part[-1]) + 1)


@dataclass(frozen=True)
class PieceRecord:
    """Record of a finished piece.

    outcomes: of each attack, in ascending order of image ids; empty if no image of the piece could be read. decided_again:
    for each attack, the images that the plain network decided again. bad: unreadable samples of the piece. seconds: that the
    piece took. audits: for each attack, the images of the audit. hashes: (N,) of the images as they were read, by ascending id.
    """

    number: int
    outcomes: tuple[BatchOutcomes, ...] = ()
    decided_again: tuple[int, ...] = ()
    bad: tuple[BadSample, ...] = ()
    seconds: float = 0.0
    audits: tuple[AuditCounts, ...] = ()
    hashes: Int64Array | None = None

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.outcomes[0]) if self.outcomes else 0

    @property
    def ids(self) -> Int64Array:
        """Ids (N,) of the images."""
        return self.outcomes[0].ids if self.outcomes else np.empty(0, np.int64)

    @property
    def labels(self) -> Int64Array:
        """Labels (N,) of the images."""
        return self.outcomes[0].labels if self.outcomes else np.empty(0, np.int64)


class PieceStore(Protocol):
    """Store of finished pieces, from which an interrupted run continues."""

    def records(self) -> Iterator[PieceRecord]:
        """Yield the stored pieces, each once, in ascending order of numbers."""

    def keep(self, record: PieceRecord) -> None:
        """Store one more piece; raise ResourceError if this fails."""
