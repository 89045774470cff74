"""What a benchmark found: how long each contender took beside the bare loop, and whether it counted the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from robustbench_fgsm.benchmarking.bare_loop import BareResult
from robustbench_fgsm.benchmarking.contenders import Contender
from robustbench_fgsm.benchmarking.peak_memory import PeakMemory
from robustbench_fgsm.benchmarking.timing import ContenderTimings, TimedTask
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS
from robustbench_fgsm.evaluation.document import bad_sample_reasons, bad_sample_warnings, build_document
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.registry import RegistryEntry
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate

MAX_COUNT_DIFFERENCE_SHARE = 0.01
"""Share of the images by which counts may differ before a warning: another layout flips a few."""


@dataclass(frozen=True)
class ContenderResult:
    """One contender: its race, and its memory, or why that was not measured; None where nobody asked."""

    contender: Contender
    version: str
    timings: ContenderTimings
    memory: PeakMemory | str | None = None

    def job_result(self, epsilons: tuple[float, ...]) -> BareResult | None:
        """What its job at these budgets counted; None where it failed before."""
        found = self.timings.results.get(TimedTask("job", epsilons))
        return found if isinstance(found, BareResult) else None


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
    tasks: tuple[TimedTask, ...]
    contender_results: tuple[ContenderResult, ...]
    absent: tuple[RegistryEntry, ...]
    preflight_warnings: tuple[str, ...]
    environment: dict[str, str | int]
    seconds: float
    bad: tuple[BadSample, ...] = ()
    max_bad: int = 0

    @property
    def baseline(self) -> ContenderResult:
        """The bare loop that all are measured by."""
        return self.contender_results[0]

    @property
    def invalid_reasons(self) -> list[str]:
        """Why the numbers must not be used: the bare loop or our own side failed, or images could not be read."""
        own = [standing for standing in self.contender_results if standing.contender.kind != "reference" and standing.timings.error]
        found = [f"{standing.contender.name} failed: {standing.timings.error}" for standing in own]
        return found + bad_sample_reasons(self.bad, self.max_bad)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know beside the numbers."""
        found = [*self.preflight_warnings, *bad_sample_warnings(self.bad, self.max_bad)]
        expected = self.baseline.job_result(self.attack.epsilons)
        for standing in self.contender_results:
            if not standing.timings.consistent:
                found.append(f"{standing.contender.name} counted differently from one round to the next")
            answer = standing.job_result(self.attack.epsilons)
            if expected is None or answer is None:
                continue
            apart = max_count_difference(answer, expected)
            if apart > MAX_COUNT_DIFFERENCE_SHARE * expected.n:
                found.append(
                    f"{standing.contender.name} does not compute the same: its counts are up to {apart:,} of {expected.n:,} "
                    f"images from those of the {self.baseline.contender.name} loop, so its time counts for nothing"
                )
        return found

    @property
    def exit_code(self) -> int:
        """0, also where a reference failed, since nothing is judged here; 1 for an invalid run."""
        return EXIT_NEGATIVE_RESULT if self.invalid_reasons else EXIT_SUCCESS

    def to_dict(self) -> dict[str, Any]:
        """The document `rfgsm.benchmark/1`."""
        expected = self.baseline.job_result(self.attack.epsilons)
        own = {
            "attack": self.attack.to_dict() | {"epsilons": list(self.attack.epsilons)},
            "n": self.data["n"] - len(self.bad) if expected is None else expected.n,
            "batch_size": self.batch_size,
            "rounds": self.rounds,
            "unit": self.baseline.contender.name,
            "noise": [_task_to_dict(task) | {"relative": self._noise(task)} for task in self.tasks],
            "contenders": [self._contender_to_dict(standing) for standing in self.contender_results],
            "absent": [{"name": entry.name, "package": entry.package, "install": entry.install_command} for entry in self.absent],
        }
        return build_document("rfgsm.benchmark/1", self, own)

    def _noise(self, task: TimedTask) -> float | None:
        seconds = self.baseline.timings.time_summary(task)
        return None if seconds is None else seconds.relative_range

    def _contender_to_dict(self, contender_result: ContenderResult) -> dict[str, Any]:
        answer, expected = contender_result.job_result(self.attack.epsilons), self.baseline.job_result(self.attack.epsilons)
        memory = contender_result.memory
        return {
            "name": contender_result.contender.name,
            "kind": contender_result.contender.kind,
            "version": contender_result.version,
            "error": contender_result.timings.error or None,
            "clean_accuracy": None if answer is None else Rate(answer.clean_correct, answer.n).to_dict(),
            "epsilons": [] if answer is None else self._robust_accuracies(answer),
            "max_count_difference": None if answer is None or expected is None else max_count_difference(answer, expected),
            "timings": [self._timing_to_dict(contender_result, task) for task in self.tasks],
            "memory": memory.to_dict() if isinstance(memory, PeakMemory) else None,
            "memory_error": memory if isinstance(memory, str) else None,
        }

    def _robust_accuracies(self, result: BareResult) -> list[dict[str, Any]]:
        return [
            {"epsilon": epsilon, "robust_accuracy": Rate(count, result.n).to_dict()}
            for epsilon, count in zip(self.attack.epsilons, result.robust_correct, strict=True)
        ]

    def _timing_to_dict(self, contender_result: ContenderResult, task: TimedTask) -> dict[str, Any]:
        seconds, ratio = (
            contender_result.timings.time_summary(task),
            contender_result.timings.time_ratio(task, self.baseline.timings),
        )
        return _task_to_dict(task) | {
            "seconds": None if seconds is None else asdict(seconds),
            "ratio": None if ratio is None else asdict(ratio),
        }


def max_count_difference(result: BareResult, expected: BareResult) -> int:
    """The largest difference of two counts of the same thing."""
    pairs = zip((result.clean_correct, *result.robust_correct), (expected.clean_correct, *expected.robust_correct), strict=True)
    return max(abs(mine - theirs) for mine, theirs in pairs)


def _task_to_dict(task: TimedTask) -> dict[str, Any]:
    return {"task": task.kind, "epsilons": list(task.epsilons)}
