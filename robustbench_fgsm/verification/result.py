"""What `verify` found: the result of each case, the diagnosis and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.variants.catalogue import Finding
from robustbench_fgsm.verification.cases import Case
from robustbench_fgsm.verification.judge import JudgedCall
from robustbench_fgsm.verification.sandbox import ObservedCall


@dataclass(frozen=True)
class CaseResult:
    """Result of one case: all calls, those that returned images, those with wrong images, and other problems."""

    case: Case
    judged_calls: tuple[JudgedCall, ...]
    wrong_calls: tuple[JudgedCall, ...]
    observed_calls: tuple[ObservedCall, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Return True if images and conduct are right."""
        return not self.wrong_calls and not self.problems

    @property
    def detail(self) -> str:
        """Return the counts of pixels and the problems in one line."""
        decidable = sum(int(judged.decidable.sum()) for judged in self.judged_calls)
        if self.passed:
            return f"{decidable:,} of {decidable:,} pixels are right"
        wrong = sum(int(judged.wrong.sum()) for judged in self.wrong_calls)
        largest = max((judged.largest_error for judged in self.wrong_calls), default=0.0)
        pixels = [f"{wrong:,} of {decidable:,} pixels are wrong, by up to {largest:.2g}"] if self.wrong_calls else []
        return "; ".join(dict.fromkeys([*pixels, *self.problems]))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the case."""
        return {"name": self.case.name, "about": self.case.about, "passed": self.passed, "detail": self.detail}


@dataclass(frozen=True)
class Verification:
    """Result of `verify`; the harmless findings count only if the check is strict."""

    candidate: Candidate
    results: tuple[CaseResult, ...]
    diagnosis: tuple[Finding, ...]
    harmless_findings: tuple[Finding, ...]
    strict: bool
    environment: dict[str, str | int]
    seconds: float

    @property
    def verdict(self) -> Literal["right", "wrong"]:
        """Return `right` if every case passes and, if the check is strict, there is no harmless finding."""
        wrong = not all(result.passed for result in self.results) or (self.strict and bool(self.harmless_findings))
        return "wrong" if wrong else "right"

    @property
    def exit_code(self) -> int:
        """Return 0 for a right candidate, 1 for a wrong candidate."""
        return EXIT_SUCCESS if self.verdict == "right" else EXIT_NEGATIVE_RESULT

    @property
    def tracebacks(self) -> list[str]:
        """Return the tracebacks of the candidate's exceptions, each once."""
        found = (observed.traceback for result in self.results for observed in result.observed_calls if observed.traceback)
        return list(dict.fromkeys(found))

    @property
    def summary(self) -> str:
        """Return verdict, failed cases, diagnosis and the harmless findings that count, one per line."""
        passed = sum(result.passed for result in self.results)
        lines = [f"{self.candidate.name} is {self.verdict}: {passed} of {len(self.results)} cases pass"]
        lines += [f"  {result.case.name}: {result.detail}" for result in self.results if not result.passed]
        for finding in (*self.diagnosis, *(self.harmless_findings if self.strict else ())):
            lines += [f"{finding.cause}: {finding.evidence}", f"  remedy: {finding.remedy}"]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.verification/1`."""
        return {
            "schema": "rfgsm.verification/1",
            "status": "complete",
            "exit_code": self.exit_code,
            "invalid_reasons": [],
            "verdict": self.verdict,
            "candidate": self.candidate.to_dict(),
            "strict": self.strict,
            "cases": [result.to_dict() for result in self.results],
            "diagnosis": [finding.to_dict() for finding in self.diagnosis],
            "warnings": [{"cause": finding.cause, "evidence": finding.evidence} for finding in self.harmless_findings],
            "environment": self.environment,
            "seconds": {"total": self.seconds},
        }
