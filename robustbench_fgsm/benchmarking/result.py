"""What `benchmark` found: the times of each contender relative to the bare loop, and its counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from robustbench_fgsm.benchmarking.bare_loop import BareResult
from robustbench_fgsm.benchmarking.contenders import Contender
from robustbench_fgsm.benchmarking.peak_memory import PeakMemory
from robustbench_fgsm.benchmarking.roofline import Roofline
from robustbench_fgsm.benchmarking.timing import ContenderTimings, TimedTask
from robustbench_fgsm.evaluation.document import bad_sample_reasons, bad_sample_warnings, build_document
from robustbench_fgsm.evaluation.result_protocol import Measurement, Result
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.registry import RegistryEntry
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate

MAX_COUNT_DIFFERENCE_SHARE = 0.01
"""Counts that differ by a larger share of the images give a warning; another memory layout changes a few predictions."""


@dataclass(frozen=True)
class ContenderResult:
    """Times of one contender, and its memory: measured, or why it was not, or None if it was not wanted."""

    contender: Contender
    version: str
    timings: ContenderTimings
    memory: PeakMemory | str | None = None

    __repr__ = short_repr

    def job_result(self, epsilons: tuple[float, ...]) -> BareResult | None:
        """Return the counts of its job at these epsilons; None if it failed."""
        found = self.timings.results.get(TimedTask("job", epsilons))
        return found if isinstance(found, BareResult) else None


@dataclass(frozen=True, repr=False)
class Benchmark(Result, Measurement):
    """Result of `benchmark`.

    Attributes:
        tasks: attack and job, at the largest epsilon and at all epsilons of the attack.
        contender_results: results of the contenders, first the unit.
        absent: references that are not installed.
        roofline: None if the operations of the network cannot be counted.
    """

    model: ModelInfo
    attack: AttackSpec
    batch_size: int
    rounds: int
    tasks: tuple[TimedTask, ...]
    contender_results: tuple[ContenderResult, ...]
    absent: tuple[RegistryEntry, ...]
    preflight_warnings: tuple[str, ...]
    roofline: Roofline | None = None

    @property
    def baseline(self) -> ContenderResult:
        """Return the result of the bare loop, which is the unit."""
        return self.contender_results[0]

    @property
    def invalid_reasons(self) -> list[str]:
        """Return why the numbers must not be used: the bare loop or our side failed, or counts or images are unusable."""
        failed = [
            f"{result.contender.name} failed: {result.timings.error}"
            for result in self.contender_results
            if result.contender.kind != "reference" and result.timings.error
        ]
        found = (result.job_result(self.attack.epsilons) for result in self.contender_results)
        counted = [reason for counts in found if counts is not None for reason in counts.invalid_reasons]
        return list(dict.fromkeys([*failed, *counted, *bad_sample_reasons(self.bad, self.max_bad)]))

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the numbers."""
        found = [*self.preflight_warnings, *bad_sample_warnings(self.bad, self.max_bad)]
        expected = self.baseline.job_result(self.attack.epsilons)
        for result in self.contender_results:
            if not result.timings.consistent:
                found.append(f"{result.contender.name} counted differently from one round to the next")
            counts = result.job_result(self.attack.epsilons)
            if expected is None or counts is None:
                continue
            apart = max_count_difference(counts, expected)
            if apart > MAX_COUNT_DIFFERENCE_SHARE * expected.n:
                found.append(
                    f"{result.contender.name} does not compute the same: its counts are up to {apart:,} of {expected.n:,} "
                    f"images from the counts of the {self.baseline.contender.name} loop, so its time means nothing"
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.benchmark/1`."""
        expected = self.baseline.job_result(self.attack.epsilons)
        own = {
            "attack": self.attack.to_dict() | {"epsilons": list(self.attack.epsilons)},
            "n": self.data["n"] - len(self.bad) if expected is None else expected.n,
            "batch_size": self.batch_size,
            "rounds": self.rounds,
            "unit": self.baseline.contender.name,
            "noise": [
                _task_to_dict(task) | {"relative": None if seconds is None else seconds.relative_range}
                for task in self.tasks
                for seconds in [self.baseline.timings.time_summary(task)]
            ],
            "roofline": self.roofline and asdict(self.roofline),
            "contenders": [self._contender_to_dict(result) for result in self.contender_results],
            "absent": [{"name": entry.name, "package": entry.package, "install": entry.install_command} for entry in self.absent],
        }
        return build_document("rfgsm.benchmark/1", self, own)

    def _contender_to_dict(self, result: ContenderResult) -> dict[str, Any]:
        epsilons, memory = self.attack.epsilons, result.memory
        counts, expected = result.job_result(epsilons), self.baseline.job_result(epsilons)
        return {
            "name": result.contender.name,
            "kind": result.contender.kind,
            "version": result.version,
            "error": result.timings.error or None,
            "clean_accuracy": None if counts is None else Rate(counts.clean_correct, counts.n).to_dict(),
            "epsilons": []
            if counts is None
            else [
                {"epsilon": epsilon, "robust_accuracy": Rate(count, counts.n).to_dict()}
                for epsilon, count in zip(epsilons, counts.robust_correct, strict=True)
            ],
            "max_count_difference": None if counts is None or expected is None else max_count_difference(counts, expected),
            "timings": [self._timing_to_dict(result.timings, task) for task in self.tasks],
            "memory": asdict(memory) | {"above": memory.above} if isinstance(memory, PeakMemory) else None,
            "memory_error": memory if isinstance(memory, str) else None,
        }

    def _timing_to_dict(self, timings: ContenderTimings, task: TimedTask) -> dict[str, Any]:
        seconds, ratio = timings.time_summary(task), timings.time_ratio(task, self.baseline.timings)
        least = None if self.roofline is None else self.roofline.seconds_at_least(task, self.data["n"] - len(self.bad))
        share = None if seconds is None or least is None else least / seconds.median
        return _task_to_dict(task) | {
            "seconds": seconds and asdict(seconds),
            "ratio": ratio and asdict(ratio),
            "limit_share": share,
        }


def max_count_difference(result: BareResult, expected: BareResult) -> int:
    """Return the largest difference of two corresponding counts."""
    pairs = zip((result.clean_correct, *result.robust_correct), (expected.clean_correct, *expected.robust_correct), strict=True)
    return max(abs(mine - theirs) for mine, theirs in pairs)


def _task_to_dict(task: TimedTask) -> dict[str, Any]:
    return {"task": task.kind, "epsilons": list(task.epsilons)}
