"""Attacks on data: at once, or piece by piece, each recorded when it is done, so that nothing done is done again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import numpy as np
import torch

from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, readable
from robustbench_fgsm.engine.distributed import World, ranks_in_order
from robustbench_fgsm.engine.observer import observers
from robustbench_fgsm.engine.out_of_memory import Portions
from robustbench_fgsm.engine.outcomes import Counter, Totals
from robustbench_fgsm.engine.pieces import (
    Collector,
    PieceRecord,
    Pieces,
    PieceStore,
    count_record,
    piece_size,
    record_of,
)
from robustbench_fgsm.engine.plan import Execution
from robustbench_fgsm.engine.prefetch import read_ahead
from robustbench_fgsm.engine.preflight import check_images
from robustbench_fgsm.engine.progress import Saying
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.tally import Counts, Tally


@dataclass(frozen=True)
class Counted:
    """Counts of each attack, samples that could not be had, and the seconds that pieces took which were there before."""

    totals: list[Totals]
    bad: list[BadSample]
    seconds_before: float = 0.0
    warnings: tuple[str, ...] = ()


def attack_at_once(execution: Execution, data: Dataset, specs: Sequence[AttackSpec], say: Saying) -> Counted:
    """Attack all of the data; images that get a second look wait until they fill a batch."""
    portions = Portions()
    counters = [Counter(execution.plain, spec) for spec in specs]
    watching = observers(execution, specs, data.classes, counters, portions)
    bad: list[BadSample] = []
    told = 0
    for batch in read_ahead(readable(data, 0, len(data), execution.plan.batch_size, bad), execution.plain.device):
        check_images(batch, execution.plain)
        for observer in watching:
            observer.see(batch)
        say(len(batch) + len(bad) - told, counters[0])
        told = len(bad)
    for observer in watching:
        observer.settle()
    return Counted([counter.totals() for counter in counters], bad, warnings=portions.warnings)


def attack_by_pieces(
    execution: Execution,
    data: Dataset,
    specs: Sequence[AttackSpec],
    store: PieceStore,
    world: World,
    say: Saying,
) -> Counted:
    """Attack the pieces that the store does not have, those of this process's share, and count all of all processes."""
    work, portions = Work(execution, specs, pieces_of(execution, data)), Portions()
    for record in store.records() if world.leads else ():
        work.add(record)
    before = work.seconds
    say(work.images, work.counters[0])
    missing = np.flatnonzero(~world.first(work.finished))
    for record in attack_pieces(execution, data, specs, world.share(missing), portions):
        store.keep(record)
        work.add(record)
        say(len(record) + len(record.bad), work.counters[0])
    parts = world.gather((work.bad, portions.warnings))
    bad = [sample for samples in ranks_in_order([bad for bad, _ in parts]) for sample in samples]
    warnings = dict.fromkeys(warning for _, told in parts for warning in told)
    return Counted(summed(work.totals(), world), bad, before, tuple(warnings))


class Work:
    """Counts and bad samples of all pieces that one process knows of, and the seconds that went into them."""

    def __init__(self, execution: Execution, specs: Sequence[AttackSpec], pieces: Pieces) -> None:
        self.counters = [Counter(execution.plain, spec) for spec in specs]
        self.finished = np.zeros(len(pieces), np.bool_)
        self.seconds = 0.0
        self.images = 0
        self._bad: dict[int, tuple[BadSample, ...]] = {}

    def add(self, record: PieceRecord) -> None:
        """One more piece."""
        self.finished[record.number] = True
        self.seconds += record.seconds
        self.images += len(record) + len(record.bad)
        if record.bad:
            self._bad[record.number] = record.bad
        count_record(record, self.counters)

    @property
    def bad(self) -> list[tuple[int, tuple[BadSample, ...]]]:
        """Bad samples by the number of their piece."""
        return list(self._bad.items())

    def totals(self) -> list[Totals]:
        """Counts of each attack."""
        return [counter.totals() for counter in self.counters]


def pieces_of(execution: Execution, data: Dataset) -> Pieces:
    """How the data fall into pieces under that plan."""
    return Pieces(len(data), piece_size(execution.plan, execution.plain.device))


def attack_pieces(
    execution: Execution,
    data: Dataset,
    specs: Sequence[AttackSpec],
    numbers: Counts,
    portions: Portions,
) -> Iterator[PieceRecord]:
    """Attack these pieces, by ascending number, one each time that a record is asked for.

    A record is the same whichever process makes it, and when: all that waits for a second look is settled within it.
    """
    pieces = pieces_of(execution, data)
    for run in pieces.runs(numbers):
        began = time.perf_counter()
        for number, batches in by_piece(data, pieces, run, execution.plan.batch_size, execution.plain.device):
            yield _attacked(execution, data, specs, number, batches, portions, began)
            began = time.perf_counter()


def _attacked(
    execution: Execution,
    data: Dataset,
    specs: Sequence[AttackSpec],
    number: int,
    batches: Iterator[Batch],
    portions: Portions,
    began: float,
) -> PieceRecord:
    collectors = [Collector(len(spec.epsilons), targeted=spec.target.targeted) for spec in specs]
    watching = observers(execution, specs, data.classes, collectors, portions)
    bad: list[BadSample] = []
    images = 0
    for batch in batches:
        bad += batch.bad
        images += len(batch)
        if len(batch):
            check_images(batch, execution.plain)
            for observer in watching:
                observer.see(batch)
    if not images:
        nothing = np.empty(0, np.int64)
        return PieceRecord(number, nothing, nothing, (), tuple(bad), time.perf_counter() - began)
    for observer in watching:
        observer.settle()
    return record_of(number, collectors, bad, time.perf_counter() - began)


def by_piece(
    data: Dataset, pieces: Pieces, run: range, size: int, device: torch.device
) -> Iterator[tuple[int, Iterator[Batch]]]:
    """The batches of each piece of a run, from one pass over the data, so that whoever decodes them can work ahead.

    The batches of a piece have to be taken before the next piece is asked for.
    """
    span = range(pieces.span(run[0]).start, pieces.span(run[-1]).stop)
    flow = read_ahead(_whole(data, span, size), device)
    for number in run:
        yield number, _until(flow, len(pieces.span(number)))


def _until(flow: Iterator[Batch], images: int) -> Iterator[Batch]:
    while images > 0:
        batch = next(flow)
        images -= len(batch) + len(batch.bad)
        yield batch


def _whole(data: Dataset, span: range, size: int) -> Iterator[Batch]:
    """Batches of `size` images, bad ones included, the last of them shorter; raises DataError where data give others."""
    at = span.start
    for batch in data.batches(span.start, span.stop, size):
        at += len(batch) + len(batch.bad)
        if at != span.stop and (at - span.start) % size:
            raise DataError(
                f"data must come in batches of {size} images as asked for, got one of {len(batch) + len(batch.bad)} "
                f"in {data.name}: let its `batches` give whole ones"
            )
        yield batch
    if at != span.stop:
        raise DataError(
            f"data must give the {len(span):,} images from {span.start:,} to {span.stop - 1:,}, got "
            f"{at - span.start:,} in {data.name}: let its `batches` agree with its length"
        )


MATRICES = ("clean", "adversarial", "transition", "attacked", "fooled")


NUMBERS = tuple(field.name for field in fields(Tally) if field.name not in (*MATRICES, "targeted"))


def summed(totals: Sequence[Totals], world: World) -> list[Totals]:
    """The totals of all processes, for all of them; each has as many, of the same attacks."""
    if world.size == 1:
        return list(totals)
    return [
        Totals(
            tuple(_summed(tally, world) for tally in mine.ordinary),
            tuple(_summed(tally, world) for tally in mine.stable),
            world.sum(mine.first_fooled),
            int(world.sum(np.array([mine.decided_again], np.int64))[0]),
        )
        for mine in totals
    ]


def _summed(tally: Tally, world: World) -> Tally:
    if confusion.is_sparse(tally.clean):  # as many entries as there are, not as there could be
        return reduce(Tally.__add__, world.gather(tally))
    numbers = world.sum(np.array([getattr(tally, name) for name in NUMBERS], np.int64))
    sums: dict[str, Any] = {name: world.sum(getattr(tally, name)) for name in MATRICES}
    sums |= zip(NUMBERS, map(int, numbers), strict=True)
    return Tally(**sums, targeted=tally.targeted)
