"""What a benchmark found: how long each contender took beside the bare loop, and whether it counted the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from robustbench_fgsm.benchmarking.bare_loop import Answer
from robustbench_fgsm.benchmarking.contenders import Entry
from robustbench_fgsm.benchmarking.peak_memory import Memory
from robustbench_fgsm.benchmarking.timing import Lane, Task
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.errors import AGREE, DISAGREE
from robustbench_fgsm.evaluation.document import bad_reasons, bad_warnings, enveloped
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.references.registry import Listing
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate

NOTICEABLE = 0.01
"""Share of the images by which counts may differ before a warning: another layout flips a few."""


@dataclass(frozen=True)
class Standing:
    """One contender: its race, and its memory, or why that was not measured; None where nobody asked."""

    entry: Entry
    version: str
    lane: Lane
    memory: Memory | str | None = None

    def answer(self, epsilons: tuple[float, ...]) -> Answer | None:
        """What its job at these budgets counted; None where it failed before."""
        found = self.lane.answers.get(Task("job", epsilons))
        return found if isinstance(found, Answer) else None


@dataclass(frozen=True)
class Benchmark:
    """What `benchmark` found. standings: the unit first. absent: references that are not installed.

    attack: its epsilons are all budgets; tasks are what was timed, at the largest of them and at all.
    """

    model: ModelInfo
    data: dict[str, Any]
    attack: AttackSpec
    batch_size: int
    rounds: int
    tasks: tuple[Task, ...]
    standings: tuple[Standing, ...]
    absent: tuple[Listing, ...]
    preflight_warnings: tuple[str, ...]
    environment: dict[str, str | int]
    seconds: float
    bad: tuple[BadSample, ...] = ()
    max_bad: int = 0

    @property
    def unit(self) -> Standing:
        """The bare loop that all are measured by."""
        return self.standings[0]

    @property
    def invalid_reasons(self) -> list[str]:
        """Why the numbers must not be used: the bare loop or our own side failed, or images could not be read."""
        own = [standing for standing in self.standings if standing.entry.kind != "reference" and standing.lane.error]
        found = [f"{standing.entry.name} failed: {standing.lane.error}" for standing in own]
        return found + bad_reasons(self.bad, self.max_bad)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know beside the numbers."""
        found = [*self.preflight_warnings, *bad_warnings(self.bad, self.max_bad)]
        expected = self.unit.answer(self.attack.epsilons)
        for standing in self.standings:
            if not standing.lane.steady:
                found.append(f"{standing.entry.name} counted differently from one round to the next")
            answer = standing.answer(self.attack.epsilons)
            if expected is None or answer is None:
                continue
            apart = differing(answer, expected)
            if apart > NOTICEABLE * expected.n:
                found.append(
                    f"{standing.entry.name} does not compute the same: its counts are up to {apart:,} of {expected.n:,} "
                    f"images from those of the {self.unit.entry.name} loop, so its time counts for nothing"
                )
        return found

    @property
    def exit_code(self) -> int:
        """0, also where a reference failed, since nothing is judged here; 1 for an invalid run."""
        return DISAGREE if self.invalid_reasons else AGREE

    def to_dict(self) -> dict[str, Any]:
        """The document `rfgsm.benchmark/1`."""
        expected = self.unit.answer(self.attack.epsilons)
        own = {
            "attack": self.attack.to_dict() | {"epsilons": list(self.attack.epsilons)},
            "n": self.data["n"] - len(self.bad) if expected is None else expected.n,
            "batch_size": self.batch_size,
            "rounds": self.rounds,
            "unit": self.unit.entry.name,
            "noise": [_task(task) | {"relative": self._noise(task)} for task in self.tasks],
            "contenders": [self._contender(standing) for standing in self.standings],
            "absent": [
                {"name": listing.name, "package": listing.package, "install": listing.install}
                for listing in self.absent
            ],
        }
        return enveloped("rfgsm.benchmark/1", self, own)

    def _noise(self, task: Task) -> float | None:
        seconds = self.unit.lane.time(task)
        return None if seconds is None else seconds.relative

    def _contender(self, standing: Standing) -> dict[str, Any]:
        answer, expected = standing.answer(self.attack.epsilons), self.unit.answer(self.attack.epsilons)
        memory = standing.memory
        return {
            "name": standing.entry.name,
            "kind": standing.entry.kind,
            "version": standing.version,
            "error": standing.lane.error or None,
            "clean_accuracy": None if answer is None else Rate(answer.clean, answer.n).to_dict(),
            "epsilons": [] if answer is None else self._robust(answer),
            "max_count_difference": None if answer is None or expected is None else differing(answer, expected),
            "timings": [self._timing(standing, task) for task in self.tasks],
            "memory": memory.to_dict() if isinstance(memory, Memory) else None,
            "memory_error": memory if isinstance(memory, str) else None,
        }

    def _robust(self, answer: Answer) -> list[dict[str, Any]]:
        return [
            {"epsilon": epsilon, "robust_accuracy": Rate(count, answer.n).to_dict()}
            for epsilon, count in zip(self.attack.epsilons, answer.robust, strict=True)
        ]

    def _timing(self, standing: Standing, task: Task) -> dict[str, Any]:
        seconds, ratio = standing.lane.time(task), standing.lane.ratio(task, self.unit.lane)
        return _task(task) | {
            "seconds": None if seconds is None else asdict(seconds),
            "ratio": None if ratio is None else asdict(ratio),
        }


def differing(answer: Answer, expected: Answer) -> int:
    """The largest difference of two counts of the same thing."""
    pairs = zip((answer.clean, *answer.robust), (expected.clean, *expected.robust), strict=True)
    return max(abs(mine - theirs) for mine, theirs in pairs)


def _task(task: Task) -> dict[str, Any]:
    return {"task": task.kind, "epsilons": list(task.epsilons)}
