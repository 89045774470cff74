"""TODO docstring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.verification.cases import Case
from robustbench_fgsm.verification.diagnosis import JudgedCall
from robustbench_fgsm.verification.sandbox import ObservedCall


@dataclass(frozen=True)
class CaseResult:
    """One case.

    trials: the calls that gave images. wrong: those of them whose images are not right. observations: all calls, in their
    order. problems: what else speaks against it.
    """

    case: Case
    judged_calls: tuple[JudgedCall, ...]
    wrong_calls: tuple[JudgedCall, ...]
    observed_calls: tuple[ObservedCall, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether images and conduct are right."""
        return not self.wrong_calls and not self.problems

    @property
    def detail(self) -> str:
        """What was found, in a line."""
        decided = sum(int(trial.judgement.decidable.sum()) for trial in self.judged_calls)
        if self.passed:
            return f"{decided:,} of {decided:,} pixels are right"
        wrong = sum(int(trial.judgement.wrong.sum()) for trial in self.wrong_calls)
        largest = max((trial.largest_error for trial in self.wrong_calls), default=0.0)
        pixels = [f"{wrong:,} of {decided:,} pixels are wrong, by up to {largest:.2g}"] if self.wrong_calls else []
        return "; ".join(dict.fromkeys([*pixels, *self.problems]))

    def to_dict(self) -> dict[str, Any]:
        """The case as JSON knows it."""
        return {"name": self.case.name, "about": self.case.about, "passed": self.passed, "detail": self.detail}
