"""Attack a data set, in one pass or piece by piece; a finished piece is recorded and never attacked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import numpy as np
import torch

from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, keep_readable, readable_batches
from robustbench_fgsm.data.image_hashes import hash_pixels
from robustbench_fgsm.engine.close_predictions import mark_close
from robustbench_fgsm.engine.dataset_pieces import PieceRecord, Pieces, PieceStore, piece_size
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World, merge_by_number
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.outcomes import AttackTotals, OutcomeCounter
from robustbench_fgsm.engine.plan import Plan, PlannedClassifier
from robustbench_fgsm.engine.planned_attack import PlannedAttack
from robustbench_fgsm.engine.prefetch import prefetch_batches
from robustbench_fgsm.engine.preflight import check_images
from robustbench_fgsm.engine.progress import CheckProgress, FooledProgress, Progress, ProgressReporter
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.audit import AuditCounts
from robustbench_fgsm.stats.distance import DistanceCounts
from robustbench_fgsm.stats.repeated_images import NO_REPEATS, LabelsAndHashes, RepeatedImages
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array, Tally

TALLY_MATRICES = ("clean", "adversarial", "transition", "images", "attacked", "fooled", "label_outcomes", "clusters")
TALLY_SCALARS = tuple(field.name for field in fields(Tally) if field.name not in (*TALLY_MATRICES, "targeted"))


@dataclass(frozen=True)
class RunContext:
    """Processes that share a run, the store of its finished pieces, and the caller's progress functions.

    restart: forgets the finished pieces, records another plan, and returns an empty store; for a run whose audit fails.
    """

    world: World = SINGLE_PROCESS
    store: PieceStore | None = None
    progress: Progress | None = None
    fooled_progress: FooledProgress | None = None
    check_progress: CheckProgress | None = None
    restart: Callable[[Plan], PieceStore | None] | None = None


PieceOutcomes = tuple[tuple[BatchOutcomes, ...], tuple[int, ...], tuple[AuditCounts, ...]]
"""Outcomes of each attack on one piece by ascending image id, the images that each attack decided again, and its audits."""


@dataclass(frozen=True)
class EngineResult:
    """Counts of each attack, unreadable samples, seconds that pieces of an earlier run took, warnings, and repeated images."""

    totals: list[AttackTotals]
    bad: list[BadSample]
    resumed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    repeated: RepeatedImages = NO_REPEATS


def attack_dataset(
    planned: PlannedClassifier, data: Dataset, specs: Sequence[AttackSpec], report_progress: ProgressReporter
) -> EngineResult:
    """Attack the whole data set in one pass; images that are computed again wait until they fill a batch."""
    splitter = BatchSplitter()
    counters = [OutcomeCounter(planned.plain_classifier, spec) for spec in specs]
    attacks = [
        PlannedAttack(planned, spec, data.classes, counter.add, splitter) for spec, counter in zip(specs, counters, strict=True)
    ]
    bad: list[BadSample] = []
    reported_bad = 0
    images: list[LabelsAndHashes] = []
    readable = keep_hashes(readable_batches(data, 0, len(data), planned.plan.batch_size, bad), images)
    for batch in prefetch_batches(readable, planned.plain_classifier.device):
        check_images(batch, planned.plain_classifier)
        for attack in attacks:
            attack.add(batch)
        report_progress(len(batch) + len(bad) - reported_bad, counters[0].fooled_so_far())
        reported_bad = len(bad)
    for attack, counter in zip(attacks, counters, strict=True):
        attack.finish()
        counter.add_decided_again(attack.decided_again, attack.audit)
    totals, warnings = [counter.totals() for counter in counters], tuple(splitter.warnings)
    return EngineResult(totals, bad, warnings=warnings, repeated=RepeatedImages.of(images))


def keep_hashes(batches: Iterator[Batch], images: list[LabelsAndHashes]) -> Iterator[Batch]:
    """Yield the batches; the labels and hashes of their images are added to `images`."""
    for batch in map(_with_hashes, batches):
        assert batch.hashes is not None  # noqa: S101  (set by now)
        images.append((batch.labels.numpy(), batch.hashes.numpy()))
        yield batch


def _with_hashes(batch: Batch) -> Batch:
    return batch if batch.hashes is not None else replace(batch, hashes=hash_pixels(batch.images))


def attack_by_pieces(
    planned: PlannedClassifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    store: PieceStore | None,
    world: World,
    report_progress: ProgressReporter,
) -> EngineResult:
    """Attack this process's share of the pieces that the store lacks, and sum the counts of all processes."""
    splitter, device = BatchSplitter(), planned.plain_classifier.device
    counters = [OutcomeCounter(planned.plain_classifier, spec) for spec in specs]

    def attack_piece(batches: Iterator[Batch]) -> PieceOutcomes:
        parts: list[list[BatchOutcomes]] = [[] for _ in specs]
        attacks = [
            PlannedAttack(planned, spec, data.classes, part.append, splitter) for spec, part in zip(specs, parts, strict=True)
        ]
        for batch in batches:
            check_images(batch, planned.plain_classifier)
            for attack in attacks:
                attack.add(batch)
        for attack in attacks:
            attack.finish()
        if not parts[0]:
            return (), (), ()
        outcomes = tuple(BatchOutcomes.concatenate(part).sorted_by_id() for part in parts)
        if planned.rounding is not None:
            outcomes = tuple(mark_close(one, planned.rounding) for one in outcomes)
        return outcomes, tuple(attack.decided_again for attack in attacks), tuple(attack.audit for attack in attacks)

    def count_record(record: PieceRecord) -> None:
        if not len(record):
            return
        found = zip(counters, record.outcomes, record.decided_again, record.audits, strict=True)
        for counter, outcomes, decided_again, audit in found:
            counter.add(outcomes)
            counter.add_decided_again(decided_again, audit)

    def report(count: int) -> None:
        report_progress(count, counters[0].fooled_so_far())

    pieces = Pieces(len(data), piece_size(planned.plan, device))
    job = PieceJob(data, pieces, planned.plan.batch_size, device, splitter, attack_piece, count_record)
    found = run_pieces(job, store, world, report)
    return EngineResult(sum_totals([counter.totals() for counter in counters], world), *found)


@dataclass(frozen=True)
class PieceJob:
    """Work on every piece of a data set: how to attack a piece of readable batches, and how to count its record."""

    data: Dataset
    pieces: Pieces
    batch_size: int
    device: torch.device
    splitter: BatchSplitter
    attack_piece: Callable[[Iterator[Batch]], PieceOutcomes]
    count_record: Callable[[PieceRecord], None]


def run_pieces(
    job: PieceJob, store: PieceStore | None, world: World, report_progress: Callable[[int], None]
) -> tuple[list[BadSample], float, tuple[str, ...], RepeatedImages]:
    """Count the pieces of the store, if there is one, and attack this process's share of all others.

    Returns:
        Unreadable samples of all processes, the seconds that the stored pieces took, and the warnings and repeated images of all
        processes.
    """
    finished, bad_by_piece = np.zeros(len(job.pieces), np.bool_), []
    images: list[LabelsAndHashes] = []

    def add(record: PieceRecord) -> None:
        finished[record.number] = True
        if record.bad:
            bad_by_piece.append((record.number, record.bad))
        if record.hashes is not None:
            images.append((record.labels, record.hashes))
        job.count_record(record)

    resumed_seconds, resumed_images = 0.0, 0
    for record in store.records() if store is not None and world.is_main else ():
        add(record)
        resumed_seconds += record.seconds
        resumed_images += len(record) + len(record.bad)
    report_progress(resumed_images)
    missing = np.flatnonzero(~world.broadcast(finished))
    for record in attack_pieces(job, world.local_part(missing)):
        if store is not None:
            store.keep(record)
        add(record)
        report_progress(len(record) + len(record.bad))
    parts = world.gather((bad_by_piece, job.splitter.warnings, images))
    bad = [sample for samples in merge_by_number([part for part, *_ in parts]) for sample in samples]
    warnings = dict.fromkeys(warning for _, warnings, _ in parts for warning in warnings)
    return bad, resumed_seconds, tuple(warnings), RepeatedImages.of([one for *_, some in parts for one in some])


def attack_pieces(job: PieceJob, piece_numbers: Int64Array) -> Iterator[PieceRecord]:
    """Attack these pieces in ascending order, and yield the record of each when it is finished.

    The record does not depend on the process and the time, because nothing waits beyond the end of a piece.
    """
    for numbers in job.pieces.consecutive_ranges(piece_numbers):
        started = time.perf_counter()
        for number, batches in batches_by_piece(job.data, job.pieces, numbers, job.batch_size, job.device):
            bad: list[BadSample] = []
            hashes = _ImageHashes()
            outcomes, decided_again, audits = job.attack_piece(hashes.of(keep_readable(batches, bad)))
            seconds = time.perf_counter() - started
            yield PieceRecord(number, outcomes, decided_again, tuple(bad), seconds, audits, hashes.by_id())
            started = time.perf_counter()


class _ImageHashes:
    """Hashes of the images of one piece, as their batches pass."""

    def __init__(self) -> None:
        self._batches: list[tuple[Int64Array, Int64Array]] = []

    def of(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches, and keep their hashes."""
        for batch in batches:
            assert batch.hashes is not None  # noqa: S101  (set as the batches are read)
            self._batches.append((batch.ids.numpy(), batch.hashes.numpy()))
            yield batch

    def by_id(self) -> Int64Array:
        """Return the hashes in ascending order of ids."""
        if not self._batches:
            return np.empty(0, np.int64)
        ids, hashes = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        return np.asarray(hashes[np.argsort(ids, kind="stable")], np.int64)


def batches_by_piece(
    data: Dataset, pieces: Pieces, piece_range: range, batch_size: int, device: torch.device
) -> Iterator[tuple[int, Iterator[Batch]]]:
    """Yield the number and the batches of each piece, from one pass over the data, so that decoding can work ahead.

    Take all batches of a piece before the next piece.
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
    """Yield the batches of the data; raise DataError if one has another size than `batch_size`, or images are missing."""
    at = span.start
    for batch in data.batches(span.start, span.stop, batch_size):
        at += len(batch) + len(batch.bad)
        if at != span.stop and (at - span.start) % batch_size:
            raise DataError(
                f"data must come in batches of {batch_size} images, got one of {len(batch) + len(batch.bad)} "
                f"in {data.name}: let its `batches` give whole ones"
            )
        yield _with_hashes(batch)
    if at != span.stop:
        raise DataError(
            f"data must give the {len(span):,} images from {span.start:,} to {span.stop - 1:,}, got "
            f"{at - span.start:,} in {data.name}: let its `batches` agree with its length"
        )


def sum_totals(totals: Sequence[AttackTotals], world: World) -> list[AttackTotals]:
    """Return in every process the totals summed over all processes, which have the same attacks."""
    if world.size == 1:
        return list(totals)
    return [
        AttackTotals(
            tuple(_sum_tally(tally, world) for tally in mine.tallies),
            tuple(_sum_tally(tally, world) for tally in mine.stable),
            world.sum(mine.first_fooled),
            *_sum_decided_again(mine, world),
            _sum_distances(mine.distances, world),
            _sum_distances(mine.distances_stable, world),
        )
        for mine in totals
    ]


def _sum_decided_again(totals: AttackTotals, world: World) -> tuple[int, AuditCounts]:
    counts = np.array([totals.decided_again, totals.audit.audited, totals.audit.differing], np.int64)
    decided_again, *audit = map(int, world.sum(counts))
    return decided_again, AuditCounts(*audit)


def _sum_distances(distances: DistanceCounts | None, world: World) -> DistanceCounts | None:
    return None if distances is None else replace(distances, counts=world.sum(distances.counts))


def _sum_tally(tally: Tally, world: World) -> Tally:
    if confusion.is_sparse(tally.clean):  # as many entries as there are, not as there could be
        return reduce(Tally.__add__, world.gather(tally))
    numbers = world.sum(np.array([getattr(tally, name) for name in TALLY_SCALARS], np.int64))
    sums: dict[str, Any] = {name: world.sum(getattr(tally, name)) for name in TALLY_MATRICES}
    sums |= zip(TALLY_SCALARS, map(int, numbers), strict=True)
    return Tally(**sums, targeted=tally.targeted)
