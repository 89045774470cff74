"""Contenders in turns, in one process: whatever slows the machine down for a while slows all of them down."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from robustbench_fgsm.benchmarking.bare_loop import BareResult
from robustbench_fgsm.errors import describe_error

TaskKind = Literal["attack", "job"]
"""attack: from images to adversarial images. job: predictions before, attack, predictions after."""


@dataclass(frozen=True)
class TimedTask:
    """What is timed: one kind of work at these budgets."""

    kind: TaskKind
    epsilons: tuple[float, ...]


@dataclass(frozen=True)
class TimingSummary:
    """Median of several rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Sequence[float]) -> TimingSummary:
        """That of at least one value."""
        return cls(median(values), min(values), max(values))

    @property
    def relative_range(self) -> float:
        """Highest less lowest, over the median."""
        return (self.high - self.low) / self.median


TaskRunner = Callable[[TimedTask], int | BareResult]
"""Does a task; returns how many images were crafted, or what the job counted."""


@dataclass
class ContenderTimings:
    """One contender's race: what it answered to each task at first, its seconds in each round, why it stopped, if it did.

    steady: whether it answered the same in every round.
    """

    name: str
    results: dict[TimedTask, int | BareResult] = field(default_factory=dict)
    seconds: dict[TimedTask, list[float]] = field(default_factory=dict)
    error: str = ""
    consistent: bool = True

    def time_summary(self, task: TimedTask) -> TimingSummary | None:
        """Seconds of a task; None where it did not last all rounds."""
        return None if self.error else TimingSummary.from_values(self.seconds[task])

    def time_ratio(self, task: TimedTask, baseline: ContenderTimings) -> TimingSummary | None:
        """Its seconds over the unit's of the same round; None where one of them did not last all rounds."""
        if self.error or baseline.error:
            return None
        pairs = zip(self.seconds[task], baseline.seconds[task], strict=True)
        return TimingSummary.from_values([mine / theirs for mine, theirs in pairs])


def time_contenders(
    runners: Mapping[str, TaskRunner],
    tasks: Sequence[TimedTask],
    rounds: int,
    *,
    synchronise: Callable[[], None] = lambda: None,
    on_task_done: Callable[[], None] = lambda: None,
) -> list[ContenderTimings]:
    """A lane for each runner, in their order: after one round to warm up, which is not timed, so many that are.

    Within a round a task goes through all contenders before the next one does, and the order in which they take it is
    moved on by one from round to round. synchronise: waits for the device, before the clock is read. step: called
    after each. A contender that raises is out: its lane says why.
    """
    lanes = [ContenderTimings(name, seconds={task: [] for task in tasks}) for name in runners]
    gc.freeze()  # libraries bring so many objects that looking through them takes longer than a batch
    try:
        for number in range(rounds + 1):
            order = round_order(lanes, number)
            for task in tasks:
                for lane in order:
                    if not lane.error:
                        _time_task(lane, runners[lane.name], task, synchronise, warm_up=number == 0)
                    on_task_done()
    finally:
        gc.unfreeze()
    return lanes


def round_order(timings: Sequence[ContenderTimings], round_number: int) -> list[ContenderTimings]:
    """The order of a round."""
    first = round_number % len(timings)
    return [*timings[first:], *timings[:first]]


def _time_task(
    timings: ContenderTimings, runner: TaskRunner, task: TimedTask, synchronise: Callable[[], None], *, warm_up: bool
) -> None:
    gc.collect()  # so that nobody pays for what another left behind
    try:
        synchronise()
        began = time.perf_counter()
        answer = runner(task)
        synchronise()
        seconds = time.perf_counter() - began
    except Exception as error:  # noqa: BLE001  (whatever a contender raises is its result)
        timings.error = describe_error(error)
        return
    timings.consistent &= answer == timings.results.setdefault(task, answer)
    if not warm_up:
        timings.seconds[task].append(seconds)
