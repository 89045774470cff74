"""Time contenders in turns in one process, so that a slow phase of the machine affects all of them."""

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
"""`attack`: from images to adversarial images. `job`: predictions, attack and predictions."""


@dataclass(frozen=True)
class TimedTask:
    """One kind of work at these epsilons."""

    kind: TaskKind
    epsilons: tuple[float, ...]


@dataclass(frozen=True)
class TimingSummary:
    """Median, lowest and highest value of several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Sequence[float]) -> TimingSummary:
        """Return the summary of at least one value."""
        return cls(median(values), min(values), max(values))

    @property
    def relative_range(self) -> float:
        """Return highest minus lowest value, over the median."""
        return (self.high - self.low) / self.median


TaskRunner = Callable[[TimedTask], int | BareResult]
"""Runs a task, and returns the number of adversarial images, or the counts of the job."""


@dataclass
class ContenderTimings:
    """Result of each task in the first round, seconds of each task in each timed round, and why the contender failed.

    consistent: whether every round gave equal results.
    """

    name: str
    results: dict[TimedTask, int | BareResult] = field(default_factory=dict)
    seconds: dict[TimedTask, list[float]] = field(default_factory=dict)
    error: str = ""
    consistent: bool = True

    def time_summary(self, task: TimedTask) -> TimingSummary | None:
        """Return the seconds of a task; None if the contender failed."""
        return None if self.error else TimingSummary.from_values(self.seconds[task])

    def time_ratio(self, task: TimedTask, baseline: ContenderTimings) -> TimingSummary | None:
        """Return its seconds over the seconds of the baseline in each round; None if one of the two failed."""
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
    """Return the timings of each runner, in their order, after one round to warm up and this number of timed rounds.

    In each round all contenders run one task before the next task, and the order of the contenders moves on by one from
    round to round. A contender that raises an error is not run again. synchronise: waits for the device before the clock
    is read. on_task_done: called after each task of each contender.
    """
    timings = [ContenderTimings(name, seconds={task: [] for task in tasks}) for name in runners]
    gc.freeze()  # libraries create so many objects that a garbage collection takes longer than a batch
    try:
        for number in range(rounds + 1):
            order = round_order(timings, number)
            for task in tasks:
                for contender in order:
                    if not contender.error:
                        _time_task(contender, runners[contender.name], task, synchronise, warm_up=number == 0)
                    on_task_done()
    finally:
        gc.unfreeze()
    return timings


def round_order(timings: Sequence[ContenderTimings], round_number: int) -> list[ContenderTimings]:
    """Return the contenders in their order in one round."""
    first = round_number % len(timings)
    return [*timings[first:], *timings[:first]]


def _time_task(
    timings: ContenderTimings, runner: TaskRunner, task: TimedTask, synchronise: Callable[[], None], *, warm_up: bool
) -> None:
    gc.collect()  # so that no contender pays for the garbage of another
    try:
        synchronise()
        began = time.perf_counter()
        result = runner(task)
        synchronise()
        seconds = time.perf_counter() - began
    except Exception as error:  # noqa: BLE001  (an error of a contender is its result)
        timings.error = describe_error(error)
        return
    timings.consistent &= result == timings.results.setdefault(task, result)
    if not warm_up:
        timings.seconds[task].append(seconds)
