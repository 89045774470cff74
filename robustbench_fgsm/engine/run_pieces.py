"""Attacks on data: at once, or piece by piece, each recorded when it is done, so that nothing done is done again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import numpy as np
import torch

from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, readable_batches
from robustbench_fgsm.engine.distributed import World, merge_by_number
from robustbench_fgsm.engine.observer import make_observers
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.outcomes import AttackTotals, OutcomeCounter
from robustbench_fgsm.engine.pieces import (
    PieceCollector,
    PieceRecord,
    Pieces,
    PieceStore,
    count_record,
    make_piece_record,
    piece_size,
)
from robustbench_fgsm.engine.plan import PlannedClassifier
from robustbench_fgsm.engine.prefetch import prefetch_batches
from robustbench_fgsm.engine.preflight import check_images
from robustbench_fgsm.engine.progress import ProgressReporter
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.tally import Int64Array, Tally


@dataclass(frozen=True)
class EngineResult:
    """Counts of each attack, samples that could not be had, and the seconds that pieces took which were there before."""

    totals: list[AttackTotals]
    bad: list[BadSample]
    resumed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def attack_dataset(
    planned: PlannedClassifier, data: Dataset, specs: Sequence[AttackSpec], progress_event: ProgressReporter
) -> EngineResult:
    """Attack all of the data; images that get a second look wait until they fill a batch."""
    portions = BatchSplitter()
    counters = [OutcomeCounter(planned.plain_classifier, spec) for spec in specs]
    watching = make_observers(planned, specs, data.classes, counters, portions)
    bad: list[BadSample] = []
    told = 0
    for batch in prefetch_batches(
        readable_batches(data, 0, len(data), planned.plan.batch_size, bad), planned.plain_classifier.device
    ):
        check_images(batch, planned.plain_classifier)
        for observer in watching:
            observer.add(batch)
        progress_event(len(batch) + len(bad) - told, counters[0])
        told = len(bad)
    for observer in watching:
        observer.finish()
    return EngineResult([counter.totals() for counter in counters], bad, warnings=portions.warnings)


def attack_by_pieces(
    planned: PlannedClassifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    store: PieceStore,
    world: World,
    progress_event: ProgressReporter,
) -> EngineResult:
    """Attack the pieces that the store does not have, those of this process's share, and count all of all processes."""
    work, portions = FinishedPieces(planned, specs, split_into_pieces(planned, data)), BatchSplitter()
    for record in store.records() if world.is_main else ():
        work.add(record)
    before = work.seconds
    progress_event(work.num_images, work.counters[0])
    missing = np.flatnonzero(~world.broadcast(work.finished))
    for record in attack_pieces(planned, data, specs, world.local_part(missing), portions):
        store.keep(record)
        work.add(record)
        progress_event(len(record) + len(record.bad), work.counters[0])
    parts = world.gather((work.bad_by_piece, portions.warnings))
    bad = [sample for samples in merge_by_number([bad for bad, _ in parts]) for sample in samples]
    warnings = dict.fromkeys(warning for _, told in parts for warning in told)
    return EngineResult(sum_totals(work.totals(), world), bad, before, tuple(warnings))


class FinishedPieces:
    """Counts and bad samples of all pieces that one process knows of, and the seconds that went into them."""

    def __init__(self, planned: PlannedClassifier, specs: Sequence[AttackSpec], pieces: Pieces) -> None:
        self.counters = [OutcomeCounter(planned.plain_classifier, spec) for spec in specs]
        self.finished = np.zeros(len(pieces), np.bool_)
        self.seconds = 0.0
        self.num_images = 0
        self._bad_by_piece: dict[int, tuple[BadSample, ...]] = {}

    def add(self, record: PieceRecord) -> None:
        """One more piece."""
        self.finished[record.number] = True
        self.seconds += record.seconds
        self.num_images += len(record) + len(record.bad)
        if record.bad:
            self._bad_by_piece[record.number] = record.bad
        count_record(record, self.counters)

    @property
    def bad_by_piece(self) -> list[tuple[int, tuple[BadSample, ...]]]:
        """Bad samples by the number of their piece."""
        return list(self._bad_by_piece.items())

    def totals(self) -> list[AttackTotals]:
        """Counts of each attack."""
        return [counter.totals() for counter in self.counters]


def split_into_pieces(planned: PlannedClassifier, data: Dataset) -> Pieces:
    """How the data fall into pieces under that plan."""
    return Pieces(len(data), piece_size(planned.plan, planned.plain_classifier.device))


def attack_pieces(
    planned: PlannedClassifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    piece_numbers: Int64Array,
    splitter: BatchSplitter,
) -> Iterator[PieceRecord]:
    """Attack these pieces, by ascending number, one each time that a record is asked for.

    A record is the same whichever process makes it, and when: all that waits for a second look is settled within it.
    """
    pieces = split_into_pieces(planned, data)
    for run in pieces.consecutive_ranges(piece_numbers):
        began = time.perf_counter()
        for number, batches in batches_by_piece(data, pieces, run, planned.plan.batch_size, planned.plain_classifier.device):
            yield _attack_piece(planned, data, specs, number, batches, splitter, began)
            began = time.perf_counter()


def _attack_piece(
    planned: PlannedClassifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    number: int,
    batches: Iterator[Batch],
    splitter: BatchSplitter,
    began: float,
) -> PieceRecord:
    collectors = [PieceCollector(len(spec.epsilons), targeted=spec.target.targeted) for spec in specs]
    watching = make_observers(planned, specs, data.classes, collectors, splitter)
    bad: list[BadSample] = []
    images = 0
    for batch in batches:
        bad += batch.bad
        images += len(batch)
        if len(batch):
            check_images(batch, planned.plain_classifier)
            for observer in watching:
                observer.add(batch)
    if not images:
        nothing = np.empty(0, np.int64)
        return PieceRecord(number, nothing, nothing, (), tuple(bad), time.perf_counter() - began)
    for observer in watching:
        observer.finish()
    return make_piece_record(number, collectors, bad, time.perf_counter() - began)


def batches_by_piece(
    data: Dataset, pieces: Pieces, piece_range: range, batch_size: int, device: torch.device
) -> Iterator[tuple[int, Iterator[Batch]]]:
    """The batches of each piece of a run, from one pass over the data, so that whoever decodes them can work ahead.

    The batches of a piece have to be taken before the next piece is asked for.
    """
    span = range(pieces.span(piece_range[0]).start, pieces.span(piece_range[-1]).stop)
    flow = prefetch_batches(_checked_batches(data, span, batch_size), device)
    for number in piece_range:
        yield number, _take_images(flow, len(pieces.span(number)))


def _take_images(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    while count > 0:
        batch = next(batches)
        count -= len(batch) + len(batch.bad)
        yield batch


def _checked_batches(data: Dataset, span: range, batch_size: int) -> Iterator[Batch]:
    """Batches of `size` images, bad ones included, the last of them shorter; raises DataError where data give others."""
    at = span.start
    for batch in data.batches(span.start, span.stop, batch_size):
        at += len(batch) + len(batch.bad)
        if at != span.stop and (at - span.start) % batch_size:
            raise DataError(
                f"data must come in batches of {batch_size} images as asked for, got one of {len(batch) + len(batch.bad)} "
                f"in {data.name}: let its `batches` give whole ones"
            )
        yield batch
    if at != span.stop:
        raise DataError(
            f"data must give the {len(span):,} images from {span.start:,} to {span.stop - 1:,}, got "
            f"{at - span.start:,} in {data.name}: let its `batches` agree with its length"
        )


TALLY_MATRICES = ("clean", "adversarial", "transition", "attacked", "fooled")


TALLY_SCALARS = tuple(field.name for field in fields(Tally) if field.name not in (*TALLY_MATRICES, "targeted"))


def sum_totals(totals: Sequence[AttackTotals], world: World) -> list[AttackTotals]:
    """The totals of all processes, for all of them; each has as many, of the same attacks."""
    if world.size == 1:
        return list(totals)
    return [
        AttackTotals(
            tuple(_sum_tally(tally, world) for tally in mine.tallies),
            tuple(_sum_tally(tally, world) for tally in mine.stable),
            world.sum(mine.first_fooled),
            int(world.sum(np.array([mine.decided_again], np.int64))[0]),
        )
        for mine in totals
    ]


def _sum_tally(tally: Tally, world: World) -> Tally:
    if confusion.is_sparse(tally.clean):  # as many entries as there are, not as there could be
        return reduce(Tally.__add__, world.gather(tally))
    numbers = world.sum(np.array([getattr(tally, name) for name in TALLY_SCALARS], np.int64))
    sums: dict[str, Any] = {name: world.sum(getattr(tally, name)) for name in TALLY_MATRICES}
    sums |= zip(TALLY_SCALARS, map(int, numbers), strict=True)
    return Tally(**sums, targeted=tally.targeted)
