"""What `explain` found: the reported numbers, and the definitions and attacks that may have given them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.evaluation.document import build_document, tally_invalid_reasons, tally_warnings
from robustbench_fgsm.evaluation.result_protocol import Measurement, Result
from robustbench_fgsm.explanation.claim import FIT_CRITERION, Claim
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import Tally
from robustbench_fgsm.variants.stages import STEPS
from robustbench_fgsm.variants.variant import RIGHT_VARIANT, Variant


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
class Match:
    """One rate of one attack beside one reported number.

    Attributes:
        definition: name of the rate, one of `RATE_DEFINITIONS`.
        epsilon: budget of the attack.
        rate: the rate.
        distance: distance of the rate from the range of the number, 0 inside; None for 0/0.
        fits: the number may be this rate, by `FIT_CRITERION`.
        excluded_from_n: if it fits by sampling error only, the number of images from which on it would not; see `Claim`.
    """

    definition: str
    epsilon: float
    rate: Rate
    distance: float | None
    fits: bool
    excluded_from_n: int | None

    @property
    def exact(self) -> bool:
        """Return True if the rate lies within the rounding of the number."""
        return self.distance == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the match."""
        return {
            "definition": self.definition,
            "epsilon": self.epsilon,
            "rate": self.rate.to_dict(),
            "distance": self.distance,
            "fits": self.fits,
            "exact": self.exact,
            "excluded_from_n": self.excluded_from_n,
        }


@dataclass(frozen=True)
class Hypothesis:
    """One attack with one definition for each reported number; also: names of other attacks with equal counts."""

    variant: Variant
    matches: tuple[Match, ...]
    also: tuple[str, ...] = ()

    __repr__ = short_repr

    @property
    def definition(self) -> str:
        """Return the definition of the first number."""
        return self.matches[0].definition

    @property
    def rate(self) -> Rate:
        """Return the rate beside the first number."""
        return self.matches[0].rate

    @property
    def distance(self) -> float | None:
        """Return the largest distance of a rate from its number; None if a rate is 0/0."""
        distances = [match.distance for match in self.matches]
        return None if None in distances else max(distance or 0.0 for distance in distances)

    @property
    def fits(self) -> bool:
        """Return True if every rate fits its number."""
        return all(match.fits for match in self.matches)

    @property
    def exact(self) -> bool:
        """Return True if every rate lies within the rounding of its number."""
        return all(match.exact for match in self.matches)

    @property
    def excluded_from_n(self) -> int | None:
        """Return the number of images from which on a rate would not fit; None if all are exact, or if one does not fit."""
        found = [match.excluded_from_n for match in self.matches if match.excluded_from_n is not None]
        return min(found) if found and self.fits else None

    @property
    def sort_key(self) -> tuple[bool, bool, bool, float, int]:
        """Sort by fit, then exact matches, then the right attack, then distance, then mistakes and further steps."""
        distance = math.inf if self.distance is None else self.distance
        mistakes = self.variant.mistakes
        return not self.fits, not self.exact, bool(mistakes), distance, len(mistakes) + STEPS[self.variant.steps].value.count

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the hypothesis."""
        units = [
            choice
            for choice in (self.variant.size, self.variant.output)
            if choice not in (RIGHT_VARIANT.size, RIGHT_VARIANT.output)
        ]
        return {
            "definition": self.definition,
            "name": self.variant.name,
            "unit": units[0] if units else "as given",
            "labels": "true" if self.variant.labels == RIGHT_VARIANT.labels else self.variant.labels,
            "mistakes": list(self.variant.mistakes),
            "rate": self.rate.to_dict(),
            "distance": self.distance,
            "fits": self.fits,
            "exact": self.exact,
            "excluded_from_n": self.excluded_from_n,
            "numbers": [match.to_dict() for match in self.matches],
            "also": list(self.also),
        }


@dataclass(frozen=True, repr=False)
class Explanation(Result, Measurement):
    """Result of `explain`: the claims, and the counts of each attack at each budget, first of the right attack.

    The claims are about one attack. They stand at its one budget, each under a definition of its own, or each at a budget of its
    own, under one definition.
    """

    claims: tuple[Claim, ...]
    model: ModelInfo
    attack: AttackSpec
    tallies: Mapping[Variant, tuple[Tally, ...]]
    preflight_warnings: tuple[str, ...]

    @property
    def correct_tally(self) -> Tally:
        """Return the counts of the right attack at the first budget, which `evaluate` gives too."""
        return self.tallies[RIGHT_VARIANT][0]

    @property
    def honest(self) -> list[Hypothesis]:
        """Return the right attack under each definition at each budget, beside the nearest number reported at that budget."""
        found = []
        for column, epsilon in enumerate(self.attack.epsilons):
            claims = [claim for claim, other in self._claims_by_budget() if other == column]
            for definition in RATE_DEFINITIONS:
                if (rate := self._rate(RIGHT_VARIANT, definition, column)) is not None:
                    match = min((self._match(claim, definition, epsilon, rate) for claim in claims), key=_distance_key)
                    others = [] if definition == "clean_accuracy" else list(self.tallies)[1:]
                    also = tuple(other.name for other in others if self._rate(other, definition, column) == rate)
                    found.append(Hypothesis(RIGHT_VARIANT, (match,), also))
        return found

    @property
    def explanations(self) -> list[Hypothesis]:
        """Return all hypotheses, the best first, see `Hypothesis.sort_key`; attacks with equal counts are one hypothesis."""
        variants: dict[tuple[Match, ...], list[Variant]] = {}
        for variant in self.tallies:
            for matches in self._matches(variant):
                variants.setdefault(matches, []).append(variant)
        found = [
            Hypothesis(first, matches, tuple(other.name for other in others)) for matches, (first, *others) in variants.items()
        ]
        order = list(RATE_DEFINITIONS)
        return sorted(found, key=lambda one: (*one.sort_key, order.index(one.definition)))

    @property
    def _has_own_definitions(self) -> bool:
        """Return True if each of several claims has a definition of its own."""
        return len(self.claims) > len(self.attack.epsilons)

    def _claims_by_budget(self) -> list[tuple[Claim, int]]:
        """Return each claim with the index of its budget."""
        return [(claim, 0 if self._has_own_definitions else index) for index, claim in enumerate(self.claims)]

    def _matches(self, variant: Variant) -> Iterator[tuple[Match, ...]]:
        """Yield the matches of an attack with all claims: under each definition, or under the nearest one for each claim."""
        by_definition = [
            tuple(
                self._match(claim, definition, self.attack.epsilons[column], rate)
                for claim, column in self._claims_by_budget()
                if (rate := self._rate(variant, definition, column)) is not None
            )
            for definition in RATE_DEFINITIONS
            if definition != "clean_accuracy" or variant == RIGHT_VARIANT or self._has_own_definitions
        ]
        found = filter(None, by_definition)
        if self._has_own_definitions:
            yield tuple(min(matches, key=_distance_key) for matches in zip(*found, strict=True))
        else:
            yield from found

    def _rate(self, variant: Variant, definition: str, column: int) -> Rate | None:
        return RATE_DEFINITIONS[definition](self.tallies[variant][column])

    def _match(self, claim: Claim, definition: str, epsilon: float, rate: Rate) -> Match:
        n = self.correct_tally.n
        return Match(definition, epsilon, rate, claim.distance(rate), claim.fits(rate, n), claim.excluded_from_n(rate, n))

    @property
    def invalid_reasons(self) -> list[str]:
        """Return why the numbers must not be used."""
        return tally_invalid_reasons(self.tallies[RIGHT_VARIANT], self.bad, self.max_bad)

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the numbers."""
        about = (tally_warnings(tally, bad=self.bad, max_bad=self.max_bad) for tally in self.tallies[RIGHT_VARIANT])
        return list(dict.fromkeys([*self.preflight_warnings, *(warning for warnings in about for warning in warnings)]))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.explanation/1`; its `claim` and `epsilon` are the first ones."""
        n, epsilons = self.correct_tally.n, self.attack.epsilons
        claims = [claim.to_dict(n) | {"epsilon": epsilons[column]} for claim, column in self._claims_by_budget()]
        own = {
            "attack": self.attack.to_dict() | {"epsilon": epsilons[0]},
            "n": n,
            "claim": self.claims[0].to_dict(n),
            "claims": claims,
            "test": FIT_CRITERION + ("; each number must fit" if len(claims) > 1 else ""),
            "honest": [found.to_dict() for found in self.honest],
            "explanations": [found.to_dict() for found in self.explanations],
        }
        return build_document("rfgsm.explanation/1", self, own)


def _distance_key(match: Match) -> float:
    return math.inf if match.distance is None else match.distance
