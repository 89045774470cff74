"""What `compare` found: counts and times of each side, and their agreement."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from robustbench_fgsm.comparison.agreement import Agreement
from robustbench_fgsm.engine.plan import PLAIN_PLAN, Plan
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS
from robustbench_fgsm.evaluation.document import (
    build_document,
    gradient_shares,
    nonfinite_output_reasons,
    output_shares,
    tally_invalid_reasons,
    tally_warnings,
)
from robustbench_fgsm.evaluation.result_protocol import Measurement, ReportedResult
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.references.registry import OwnSuccess
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import Tally
from robustbench_fgsm.variants.catalogue import Finding

AgreementVerdict = Literal["agree", "disagree"]


@dataclass(frozen=True)
class Seconds:
    """Time from images to adversarial images (attack), and time of predictions, attack and predictions (job)."""

    attack: float = 0.0
    job: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.attack + other.attack, self.job + other.job)


@dataclass(frozen=True)
class TimedTally:
    """Counts and times of one implementation."""

    tally: Tally
    seconds: Seconds = Seconds()

    def __add__(self, other: TimedTally) -> TimedTally:
        return TimedTally(self.tally + other.tally, self.seconds + other.seconds)

    def to_dict(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Return the JSON object of one side."""
        tally = self.tally
        found = {
            "clean_accuracy": tally.clean_accuracy.to_dict(),
            "robust_accuracy": tally.robust_accuracy.to_dict(),
            "attack_success_rate": tally.attack_success_rate.to_dict(),
            "clean_confusion": tally.class_matrix("clean"),
            "confusion": tally.class_matrix("adversarial"),
            "per_class": [result.to_dict() for result in tally.per_class(classes)],
            "seconds": asdict(self.seconds),
        }
        labels = tally.label_rates
        return found if labels is None else found | {"clean_labels": labels.before(), "labels": labels.after()}


COUNT_KEYS = (
    *("max_ulps", "pixels", "pixels_equal", "pixels_differing", "pixels_explained", "pixels_tied"),
    *("images_differing", "images_subnormal", "predictions_agree"),
)
"""Counts of an `Agreement` that a document has under their own names."""


@dataclass(frozen=True)
class ReferenceResult:
    """Result of another implementation; own_success: what this implementation itself calls success."""

    name: str
    version: str
    timed_tally: TimedTally
    agreement: Agreement
    reasons: tuple[str, ...]
    own_success: OwnSuccess | None = None

    __repr__ = short_repr

    @property
    def verdict(self) -> AgreementVerdict:
        """Return `agree` if there is no reason for a disagreement."""
        return "disagree" if self.reasons else "agree"

    def speedup(self, ours: Seconds) -> float | None:
        """Return the time of its job over the time of our job; None if it failed or its images are saved images."""
        return self.timed_tally.seconds.job / ours.job if self.timed_tally.seconds.job else None

    def to_dict(self, classes: tuple[str, ...], ours: Seconds) -> dict[str, Any]:
        """Return the JSON object of the reference."""
        found, own = self.agreement, self.own_success
        return {
            "name": self.name,
            "version": self.version,
            "verdict": self.verdict,
            "max_abs_difference": finite_or_none(found.max_abs_difference),
            "max_unexplained_difference": finite_or_none(found.max_unexplained_difference),
            **{name: getattr(found, name) for name in COUNT_KEYS},
            "discordant": {"ours_only": found.ours_only, "theirs_only": found.theirs_only},
            "own_success": None
            if own is None
            else {"definition": own.definition, "rate": own.rate(self.timed_tally.tally).to_dict()},
            **self.timed_tally.to_dict(classes),
            "speedup": self.speedup(ours),
            "reasons": list(self.reasons),
        }


def finite_or_none(difference: float) -> float | None:
    """Return the difference; None, which is null in JSON, if a pixel is not finite."""
    return difference if math.isfinite(difference) else None


@dataclass(frozen=True, repr=False)
class Comparison(ReportedResult, Measurement):
    """Result of `compare`: our side, the references, the candidate and the verdict."""

    model: ModelInfo
    attack: AttackSpec
    ours: TimedTally
    references: tuple[ReferenceResult, ...]
    candidate: ReferenceResult | None
    diagnosis: tuple[Finding, ...]
    preflight_warnings: tuple[str, ...]
    plan: Plan = PLAIN_PLAN
    ignored: tuple[str, ...] = ()

    @property
    def epsilon(self) -> float:
        """Return the one epsilon of the attack."""
        return self.attack.epsilons[0]

    @property
    def opponents(self) -> tuple[ReferenceResult, ...]:
        """Return the references and, after them, the candidate."""
        return self.references if self.candidate is None else (*self.references, self.candidate)

    @property
    def verdict(self) -> AgreementVerdict:
        """Return `agree` if every reference and the candidate agree with us."""
        return "disagree" if any(other.reasons for other in self.opponents) else "agree"

    @property
    def invalid_reasons(self) -> list[str]:
        """Return why the numbers must not be used."""
        found = tally_invalid_reasons([self.ours.tally], self.bad, self.max_bad)
        for opponent in self.opponents:
            tally = opponent.timed_tally.tally
            found += nonfinite_output_reasons(tally.nonfinite_before, tally.nonfinite_after, tally.n, f" at {opponent.name}")
        return found

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the numbers."""
        counted = tally_warnings(self.ours.tally, bad=self.bad, max_bad=self.max_bad)
        found = [*self.preflight_warnings, *counted]
        for opponent in self.opponents:
            if opponent.agreement.images_subnormal:
                share = Rate(opponent.agreement.images_subnormal, opponent.agreement.images)
                accepted = "; --ignore floor accepts them" if self.ignored else ""
                found.append(
                    f"{opponent.name}: its step is too short on {share} of {share.n:,} images, whose gradient is below its floor "
                    f"or underflows in float32, where ours is right by float64{accepted}"
                )
        return found

    @property
    def exit_code(self) -> int:
        """Return 0 if all sides agree and the run is valid, else 1."""
        return EXIT_NEGATIVE_RESULT if self.verdict == "disagree" or self.invalid_reasons else EXIT_SUCCESS

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.comparison/1`."""
        tally = self.ours.tally
        own = {
            "verdict": self.verdict,
            "attack": self.attack.to_dict() | {"epsilon": self.epsilon},
            "n": tally.n,
            "ours": self.ours.to_dict(self.classes),
            "references": [reference.to_dict(self.classes, self.ours.seconds) for reference in self.references],
            "candidate": None
            if self.candidate is None
            else self.candidate.to_dict(self.classes, self.ours.seconds)
            | {"diagnosis": [finding.to_dict() for finding in self.diagnosis]},
            "gradient": gradient_shares(tally),
            "outputs": output_shares([tally]),
            "plan": self.plan.to_dict(),
            "ignored": list(self.ignored),
        }
        return build_document("rfgsm.comparison/1", self, own)
