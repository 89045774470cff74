"""What `explain` found: the reported number, and the definitions and attacks that may have given it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, SettingError
from robustbench_fgsm.evaluation.document import build_document, tally_invalid_reasons, tally_warnings
from robustbench_fgsm.explanation.hypotheses import CORRECT_VARIANT, AttackVariant
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate, wilson_interval
from robustbench_fgsm.stats.tally import Tally

FIT_CRITERION = (
    "a combination fits if the 95 % Wilson interval of its rate, at the number of images behind the claim, "
    "overlaps the claim with its rounding"
)


def _accuracy_of_correct(tally: Tally) -> Rate | None:
    success = tally.attack_success_rate
    return None if tally.targeted else Rate(success.n - success.count, success.n)


RATE_DEFINITIONS: dict[str, Callable[[Tally], Rate | None]] = {
    "robust_accuracy": lambda tally: tally.robust_accuracy,
    "attack_success_rate": lambda tally: tally.attack_success_rate,
    "error_rate": lambda tally: Rate(tally.n - tally.robust_accuracy.count, tally.n),
    "flip_rate": lambda tally: tally.flip_rate,
    "target_hit_rate": lambda tally: tally.target_hit_rate,
    "accuracy_drop": lambda tally: tally.accuracy_drop,
    "accuracy_difference": lambda tally: Rate(tally.clean_accuracy.count - tally.robust_accuracy.count, tally.n),
    "accuracy_of_correct": _accuracy_of_correct,
    "clean_accuracy": lambda tally: tally.clean_accuracy,
}
"""Definitions of robustness or success, by name; None if the attack has no such rate."""


@dataclass(frozen=True)
class Claim:
    """A reported number as text and as a share, with the interval of the shares that round to it.

    n: number of images behind the reported number; None for the number of measured images.
    """

    text: str
    value: float
    low: float
    high: float
    n: int | None = None

    @classmethod
    def parse(cls, value: str | float, n: int | None = None) -> Claim:
        """Parse `0.37`, `37%`, `37.4 %` or a number; 0.37 stands for [0.365, 0.375], a bare 0 or 1 for 0 % or 100 %.

        Raises:
            SettingError: if the value lies outside [0, 1], or if n is below 1.
        """
        text = _value_text(value)
        number = text.removesuffix("%").strip()
        try:
            exact = Decimal(number)
        except InvalidOperation:
            exact = Decimal("nan")
        if not exact.is_finite():
            raise SettingError(f"value must be a share or a percentage, got {text!r}: write 0.37 or 37%")
        share = exact / 100 if text.endswith("%") else exact
        if not 0 <= share <= 1:
            hint = f"did you mean {exact / 100:f}?" if share == exact and 1 < share <= 100 else "write 0.37 or 37%"
            raise SettingError(f"value must lie in [0, 1], or in [0, 100] with a %, got {text}: {hint}")
        if n is not None and n < 1:
            raise SettingError(f"n must be at least 1, got {n}: leave it out to use the number of measured images")
        half = Decimal(1).scaleb(_last_digit_exponent(share)) / 2
        return cls(text, float(share), float(max(share - half, Decimal(0))), float(min(share + half, Decimal(1))), n)

    def distance(self, rate: Rate) -> float | None:
        """Return the distance of the rate from the interval of the claim, 0 inside; None for 0/0."""
        return None if rate.value is None else max(self.low - rate.value, rate.value - self.high, 0.0)

    def fits(self, rate: Rate, measured_n: int) -> bool:
        """Return True if the claim and this rate on measured_n images agree within the sampling error.

        If the claim has another number n of images, both are samples. One sample of n * measured_n / (n + measured_n) images
        has the variance of their difference.
        """
        if rate.value is None:
            return False
        n = measured_n if self.n is None else self.n
        size = n if n == measured_n else n * measured_n / (n + measured_n)
        low, high = wilson_interval(min(max(rate.value, 0.0), 1.0), size * rate.n / measured_n)
        return low <= self.high and self.low <= high

    def to_dict(self, measured_n: int) -> dict[str, Any]:
        """Return the JSON object of the claim."""
        n = measured_n if self.n is None else self.n
        return {"text": self.text, "value": self.value, "low": self.low, "high": self.high, "n": n}


def _value_text(value: str | float) -> str:
    """Return the number with its digits; a whole float without decimals."""
    if isinstance(value, str):
        return value.strip()
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(float(value))


def _last_digit_exponent(share: Decimal) -> int:
    """Return the power of ten of the last digit; a whole share, 0 or 1, counts as a whole percentage."""
    exponent = share.as_tuple().exponent
    return -2 if not isinstance(exponent, int) or exponent >= 0 else exponent


@dataclass(frozen=True)
class Hypothesis:
    """One definition of the result of one attack; also: names of other attacks with an equal count."""

    definition: str
    variant: AttackVariant
    rate: Rate
    distance: float | None
    fits: bool
    also: tuple[str, ...] = ()

    @property
    def sort_key(self) -> tuple[bool, bool, float, int]:
        """Sort by fit, then correct attack, then distance, then number of mistakes."""
        distance = math.inf if self.distance is None else self.distance
        return not self.fits, bool(self.variant.mistakes), distance, len(self.variant.mistakes)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the hypothesis."""
        return {
            "definition": self.definition,
            "name": self.variant.name,
            "unit": self.variant.unit,
            "labels": self.variant.labels,
            "mistakes": list(self.variant.mistakes),
            "rate": self.rate.to_dict(),
            "distance": self.distance,
            "fits": self.fits,
            "also": list(self.also),
        }


@dataclass(frozen=True)
class Explanation:
    """Result of `explain`: the claim, and the counts of each attack, first of the correct attack."""

    claim: Claim
    model: ModelInfo
    data: dict[str, Any]
    attack: AttackSpec
    tallies: Mapping[AttackVariant, Tally]
    preflight_warnings: tuple[str, ...]
    environment: dict[str, str | int]
    seconds: float
    bad: tuple[BadSample, ...] = ()
    max_bad: int = 0

    @property
    def correct_tally(self) -> Tally:
        """Return the counts of the correct attack, which `evaluate` gives too."""
        return self.tallies[CORRECT_VARIANT]

    @property
    def honest(self) -> list[Hypothesis]:
        """Return the correct attack under each definition, whether it fits or not."""
        return [found for found in self._hypotheses() if not found.variant.mistakes]

    @property
    def explanations(self) -> list[Hypothesis]:
        """Return all hypotheses, the best first, see `Hypothesis.sort_key`."""
        return sorted(self._hypotheses(), key=lambda found: found.sort_key)

    def _hypotheses(self) -> list[Hypothesis]:
        """Return one hypothesis for each definition and count, with the simplest attack that has this count."""
        found, n = [], self.correct_tally.n
        for definition, rate_of in RATE_DEFINITIONS.items():
            variants: dict[Rate, list[AttackVariant]] = {}
            for variant, tally in self.tallies.items():
                rate = rate_of(tally)
                if rate is not None and (definition != "clean_accuracy" or variant == CORRECT_VARIANT):
                    variants.setdefault(rate, []).append(variant)
            for rate, (first, *others) in variants.items():
                also = tuple(other.name for other in others)
                found.append(Hypothesis(definition, first, rate, self.claim.distance(rate), self.claim.fits(rate, n), also))
        return found

    @property
    def invalid_reasons(self) -> list[str]:
        """Return why the numbers must not be used."""
        return tally_invalid_reasons(self.correct_tally, self.bad, self.max_bad)

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the numbers."""
        return [*self.preflight_warnings, *tally_warnings(self.correct_tally, bad=self.bad, max_bad=self.max_bad)]

    @property
    def exit_code(self) -> int:
        """Return 0 for every explanation; 1 if the numbers must not be used."""
        return EXIT_NEGATIVE_RESULT if self.invalid_reasons else EXIT_SUCCESS

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.explanation/1`."""
        own = {
            "attack": self.attack.to_dict() | {"epsilon": self.attack.epsilons[0]},
            "n": self.correct_tally.n,
            "claim": self.claim.to_dict(self.correct_tally.n),
            "test": FIT_CRITERION,
            "honest": [found.to_dict() for found in self.honest],
            "explanations": [found.to_dict() for found in self.explanations],
        }
        return build_document("rfgsm.explanation/1", self, own)
