"""What `verify` measured: the reading of each stage, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS
from robustbench_fgsm.evaluation.result_protocol import ReportedResult
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.limitations import Limitation
from robustbench_fgsm.verification.methods import FGSM, Method
from robustbench_fgsm.verification.stage_result import StageResult
from robustbench_fgsm.verification.stages.conduct import Observation

Verdict = Literal["right", "wrong", "incomplete"]


@dataclass(frozen=True, repr=False)
class Verification(ReportedResult):
    """Result of `verify`.

    Attributes:
        candidate: the candidate.
        stages: the reading of each stage.
        conduct: what the candidate leaves behind or depends on.
        harmless: deviations that leave the images right, or wrong by float32 rounding only; they count if the check is strict.
        limitations: calls that the candidate could not run.
        responses: what came back from each call.
        strict: harmless deviations count.
        environment: versions and processor.
        seconds: time of the whole verification.
        method: the attack that the candidate claims to be.
    """

    candidate: Candidate
    stages: tuple[StageResult, ...]
    conduct: tuple[Observation, ...]
    harmless: tuple[Observation, ...]
    limitations: tuple[Limitation, ...]
    responses: tuple[Response, ...] = field(repr=False)
    strict: bool = False
    environment: dict[str, str | int] = field(default_factory=dict)
    seconds: float = 0.0
    method: Method = FGSM

    @property
    def wrong_stages(self) -> list[StageResult]:
        """Return the readings of the stages that are wrong."""
        return [one for one in self.stages if one.verdict == "wrong"]

    @property
    def _counted_harmless(self) -> list[Observation]:
        """Return the harmless deviations that make a strict check fail."""
        return [one for one in self.harmless if self.strict and not one.is_expected]

    @property
    def verdict(self) -> Verdict:
        """Return `right` only if every stage was measured and is right, and every call ran."""
        if self.wrong_stages or self._counted_harmless:
            return "wrong"
        if self.limitations or any(one.verdict == "unmeasured" for one in self.stages):
            return "incomplete"
        return "right"

    @property
    def exit_code(self) -> int:
        """Return 0 for a right candidate, else 1."""
        return EXIT_SUCCESS if self.verdict == "right" else EXIT_NEGATIVE_RESULT

    @property
    def tracebacks(self) -> list[str]:
        """Return the tracebacks of the candidate's exceptions, each once."""
        return list(dict.fromkeys(one.observed.traceback for one in self.responses if one.observed.traceback))

    @property
    def summary(self) -> str:
        """Return verdict, the stages that are not right, and what the candidate could not run, one per line."""
        claim = "" if self.method == FGSM else f" as {self.method.about}"
        lines = [f"{self.candidate.name} is {self.verdict}{claim}"]
        for one in self.stages:
            if one.verdict != "ok":
                lines.append(f"  {one.stage}: {one.text}{f' [{one.cause}]' if one.cause else ''}")
                lines += [f"    remedy: {one.remedy}"] if one.remedy else []
        lines += [f"  {one.text}: {one.remedy}" for one in self.limitations]
        lines += [f"  {one.cause}: {one.evidence}" for one in self._counted_harmless]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.verification/2`."""
        return {
            "schema": "rfgsm.verification/2",
            "status": "complete",
            "exit_code": self.exit_code,
            "invalid_reasons": [],
            "verdict": self.verdict,
            "candidate": self.candidate.to_dict(),
            "method": self.method.to_dict(),
            "strict": self.strict,
            "stages": [one.to_dict() for one in self.stages],
            "conduct": [one.to_dict() for one in self.conduct],
            "harmless": [one.to_dict() for one in self.harmless],
            "limitations": [one.to_dict() for one in self.limitations],
            "calls": [_call_to_dict(one) for one in self.responses],
            "warnings": [f"{one.cause}: {one.evidence}" for one in self.harmless],
            "environment": self.environment,
            "seconds": {"total": self.seconds},
        }


def _call_to_dict(response: Response) -> dict[str, Any]:
    wrong, pixels = (int(response.wrong.sum()), int(response.decidable.sum())) if response.images is not None else (None, None)
    return {
        "name": response.name,
        "epsilon": response.call.epsilon,
        "wrong_pixels": wrong,
        "pixels": pixels,
        "failure": response.observed.failure or None,
    }
