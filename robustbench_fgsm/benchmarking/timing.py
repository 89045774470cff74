"""Contenders in turns, in one process: whatever slows the machine down for a while slows all of them down."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from robustbench_fgsm.benchmarking.bare_loop import Answer
from robustbench_fgsm.errors import brief

Kind = Literal["attack", "job"]
"""attack: from images to adversarial images. job: predictions before, attack, predictions after."""


@dataclass(frozen=True)
class Task:
    """What is timed: one kind of work at these budgets."""

    kind: Kind
    epsilons: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """Median of several rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """That of at least one value."""
        return cls(median(values), min(values), max(values))

    @property
    def relative(self) -> float:
        """Highest less lowest, over the median."""
        return (self.high - self.low) / self.median


Runner = Callable[[Task], int | Answer]
"""Does a task; returns how many images were crafted, or what the job counted."""


@dataclass
class Lane:
    """One contender's race: what it answered to each task at first, its seconds in each round, why it stopped, if it did.

    steady: whether it answered the same in every round.
    """

    name: str
    answers: dict[Task, int | Answer] = field(default_factory=dict)
    seconds: dict[Task, list[float]] = field(default_factory=dict)
    error: str = ""
    steady: bool = True

    def time(self, task: Task) -> Spread | None:
        """Seconds of a task; None where it did not last all rounds."""
        return None if self.error else Spread.of(self.seconds[task])

    def ratio(self, task: Task, unit: Lane) -> Spread | None:
        """Its seconds over the unit's of the same round; None where one of them did not last all rounds."""
        if self.error or unit.error:
            return None
        pairs = zip(self.seconds[task], unit.seconds[task], strict=True)
        return Spread.of([mine / theirs for mine, theirs in pairs])


def race(
    runners: Mapping[str, Runner],
    tasks: Sequence[Task],
    rounds: int,
    *,
    synchronise: Callable[[], None] = lambda: None,
    step: Callable[[], None] = lambda: None,
) -> list[Lane]:
    """A lane for each runner, in their order: after one round to warm up, which is not timed, so many that are.

    Within a round a task goes through all contenders before the next one does, and the order in which they take it is
    moved on by one from round to round. synchronise: waits for the device, before the clock is read. step: called
    after each. A contender that raises is out: its lane says why.
    """
    lanes = [Lane(name, seconds={task: [] for task in tasks}) for name in runners]
    gc.freeze()  # libraries bring so many objects that looking through them takes longer than a batch
    try:
        for number in range(rounds + 1):
            order = turns(lanes, number)
            for task in tasks:
                for lane in order:
                    if not lane.error:
                        _run(lane, runners[lane.name], task, synchronise, warm_up=number == 0)
                    step()
    finally:
        gc.unfreeze()
    return lanes


def turns(lanes: Sequence[Lane], number: int) -> list[Lane]:
    """The order of a round."""
    first = number % len(lanes)
    return [*lanes[first:], *lanes[:first]]


def _run(lane: Lane, runner: Runner, task: Task, synchronise: Callable[[], None], *, warm_up: bool) -> None:
    gc.collect()  # so that nobody pays for what another left behind
    try:
        synchronise()
        began = time.perf_counter()
        answer = runner(task)
        synchronise()
        seconds = time.perf_counter() - began
    except Exception as error:  # noqa: BLE001  (whatever a contender raises is its result)
        lane.error = brief(error)
        return
    lane.steady &= answer == lane.answers.setdefault(task, answer)
    if not warm_up:
        lane.seconds[task].append(seconds)
