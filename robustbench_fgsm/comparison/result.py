"""Our FGSM and other implementations over one classifier and one data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from robustbench_fgsm.comparison.agreement import Agreement
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.plan import PLAIN_PLAN, Plan
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS
from robustbench_fgsm.evaluation.document import build_document, gradient_shares, tally_invalid_reasons, tally_warnings
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.references.registry import OwnSuccess
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import Tally, matrix_to_json
from robustbench_fgsm.variants.catalogue import Finding

AgreementVerdict = Literal["agree", "disagree"]


@dataclass(frozen=True)
class Seconds:
    """attack: images to adversarial images. job: predictions before, attack, predictions after."""

    attack: float = 0.0
    job: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.attack + other.attack, self.job + other.job)

    def to_dict(self) -> dict[str, float]:
        """Both, as JSON knows them."""
        return {"attack": self.attack, "job": self.job}


@dataclass(frozen=True)
class TimedTally:
    """One implementation's counts and time."""

    tally: Tally
    seconds: Seconds

    def __add__(self, other: TimedTally) -> TimedTally:
        return TimedTally(self.tally + other.tally, self.seconds + other.seconds)

    def to_dict(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """The side as JSON knows it."""
        tally = self.tally
        return {
            "clean_accuracy": tally.clean_accuracy.to_dict(),
            "robust_accuracy": tally.robust_accuracy.to_dict(),
            "attack_success_rate": tally.attack_success_rate.to_dict(),
            "clean_confusion": matrix_to_json(tally.clean),
            "confusion": matrix_to_json(tally.adversarial),
            "per_class": [result.to_dict() for result in tally.per_class(classes)],
            "seconds": self.seconds.to_dict(),
        }


@dataclass(frozen=True)
class ReferenceResult:
    """Another implementation beside ours; reasons say why they disagree and are empty where they agree.

    own_success: what it calls success itself, or None.
    """

    name: str
    version: str
    timed_tally: TimedTally
    agreement: Agreement
    reasons: tuple[str, ...]
    own_success: OwnSuccess | None = None

    @property
    def verdict(self) -> AgreementVerdict:
        """`agree` where there is no reason against it."""
        return "disagree" if self.reasons else "agree"

    def speedup(self, ours: Seconds) -> float | None:
        """Its whole job over ours; None where it was not timed, because it failed or its images were saved before."""
        return self.timed_tally.seconds.job / ours.job if self.timed_tally.seconds.job else None

    def to_dict(self, classes: tuple[str, ...], ours: Seconds) -> dict[str, Any]:
        """The reference as JSON knows it."""
        found = self.agreement
        return {
            "name": self.name,
            "version": self.version,
            "verdict": self.verdict,
            "max_abs_difference": finite_or_none(found.max_abs_difference),
            "max_unexplained_difference": finite_or_none(found.max_unexplained_difference),
            "max_ulps": found.max_ulps,
            "pixels": found.pixels,
            "pixels_equal": found.pixels_equal,
            "pixels_differing": found.pixels_differing,
            "pixels_explained": found.pixels_explained,
            "pixels_tied": found.pixels_tied,
            "images_differing": found.images_differing,
            "images_subnormal": found.images_subnormal,
            "predictions_agree": found.predictions_agree,
            "discordant": {"ours_only": found.ours_only, "theirs_only": found.theirs_only},
            "own_success": self._own_success_to_dict(),
            **self.timed_tally.to_dict(classes),
            "speedup": self.speedup(ours),
            "reasons": list(self.reasons),
        }

    def _own_success_to_dict(self) -> dict[str, Any] | None:
        if self.own_success is None:
            return None
        return {
            "definition": self.own_success.definition,
            "rate": self.own_success.rate(self.timed_tally.tally).to_dict(),
        }


def finite_or_none(difference: float) -> float | None:
    """A difference as JSON knows it: null where a pixel is not finite."""
    return difference if math.isfinite(difference) else None


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: our side, each reference's, the candidate's, and the verdict."""

    model: ModelInfo
    data: dict[str, Any]
    attack: AttackSpec
    ours: TimedTally
    references: tuple[ReferenceResult, ...]
    candidate: ReferenceResult | None
    diagnosis: tuple[Finding, ...]
    preflight_warnings: tuple[str, ...]
    environment: dict[str, str | int]
    seconds: float
    bad: tuple[BadSample, ...] = ()
    max_bad: int = 0
    plan: Plan = PLAIN_PLAN
    decided_again: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return tuple(self.data["classes"])

    @property
    def epsilon(self) -> float:
        """The one budget."""
        return self.attack.epsilons[0]

    @property
    def opponents(self) -> tuple[ReferenceResult, ...]:
        """All that were compared with ours: the references, and after them the candidate."""
        return self.references if self.candidate is None else (*self.references, self.candidate)

    @property
    def verdict(self) -> AgreementVerdict:
        """`agree` where every reference agrees, and the candidate."""
        return "disagree" if any(other.reasons for other in self.opponents) else "agree"

    @property
    def invalid_reasons(self) -> list[str]:
        """Why the numbers must not be used."""
        return tally_invalid_reasons(self.ours.tally, self.bad, self.max_bad)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know beside the numbers."""
        counted = tally_warnings(self.ours.tally, bad=self.bad, max_bad=self.max_bad)
        found = [*self.preflight_warnings, *self.plan.warnings, *counted]
        for reference in self.opponents:
            if reference.agreement.images_subnormal:
                share = Rate(reference.agreement.images_subnormal, reference.agreement.images)
                found.append(
                    f"{reference.name}: its float32 norm of the gradient underflows on {share} of {share.n:,} images, "
                    "where ours is right by float64"
                )
        return found

    @property
    def exit_code(self) -> int:
        """0 where all agree and the run is valid, else 1."""
        return EXIT_NEGATIVE_RESULT if self.verdict == "disagree" or self.invalid_reasons else EXIT_SUCCESS

    def to_dict(self) -> dict[str, Any]:
        """The document `rfgsm.comparison/1`."""
        tally = self.ours.tally
        own = {
            "verdict": self.verdict,
            "attack": self.attack.to_dict() | {"epsilon": self.epsilon},
            "n": tally.n,
            "ours": self.ours.to_dict(self.classes),
            "references": [reference.to_dict(self.classes, self.ours.seconds) for reference in self.references],
            "candidate": self._candidate_to_dict(),
            "gradient": gradient_shares(tally),
            "plan": self.plan.to_dict() | {"decided_again": self.decided_again},
        }
        return build_document("rfgsm.comparison/1", self, own)

    def _repr_html_(self) -> str:
        """Tables for a notebook."""
        from robustbench_fgsm.report.summarize import summarize
        from robustbench_fgsm.report.tables.html import summary_to_html

        return summary_to_html(summarize(self.to_dict()))

    def _candidate_to_dict(self) -> dict[str, Any] | None:
        if self.candidate is None:
            return None
        diagnosis = [finding.to_dict() for finding in self.diagnosis]
        return self.candidate.to_dict(self.classes, self.ours.seconds) | {"diagnosis": diagnosis}
