"""Result of an evaluation: counts of one attack on one classifier and data set, its document, and its data frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustbench_fgsm.attack.losses import CANCELLING_LOSSES, LOGIT_LOSSES
from robustbench_fgsm.engine.close_predictions import RecordList
from robustbench_fgsm.engine.plan import PLAIN_PLAN, Plan
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.checks import PgdCheck
from robustbench_fgsm.evaluation.document import (
    WARNING_SHARE,
    build_document,
    complete_document,
    gradient_shares,
    output_shares,
    tally_invalid_reasons,
    tally_warnings,
)
from robustbench_fgsm.evaluation.gradient_masking import MaskingCheck
from robustbench_fgsm.evaluation.result_protocol import Measurement, ReportedResult
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.audit import NO_AUDIT, AuditCounts
from robustbench_fgsm.stats.distance import DistanceCounts
from robustbench_fgsm.stats.rate import Rate, lowest_rate_by_chance
from robustbench_fgsm.stats.repeated_images import NO_REPEATS, RepeatedImages
from robustbench_fgsm.stats.tally import Tally, worst_class

if TYPE_CHECKING:
    from pandas import DataFrame

RATE_COLUMNS = ("clean_accuracy", "robust_accuracy", "attack_success_rate")


@dataclass(frozen=True, repr=False)
class Evaluation(ReportedResult, Measurement):
    """Result of one attack: settings and counts.

    Attributes:
        tallies: counts at each budget, in order.
        stable: counts with exact gradients on saturated images; empty if the classifier has its own loss.
        first_fooled: attacked images by the first budget of the ascending grid that fools them; last, images that no budget fools.
        plan: execution plan.
        decided_again: number of images that the plain network decided again.
        audit: images of the audit.
        pgd_check: result of the check by PGD; None if it was not requested.
        masking_check: result of the check for gradient masking; None if it was not requested.
        distances: counts of distances; None if they were not measured.
        distances_stable: counts of distances with exact gradients on saturated images.
        repeated: copies among the images.
        records: outcomes of each image, by piece, with this attack at `attack_index`; None if there are too many images. They hold
            the classifier until the evaluation is saved.
    """

    model: ModelInfo
    attack: AttackSpec
    tallies: tuple[Tally, ...]
    stable: tuple[Tally, ...]
    first_fooled: tuple[int, ...]
    preflight_warnings: tuple[str, ...]
    plan: Plan = PLAIN_PLAN
    decided_again: int = 0
    audit: AuditCounts = NO_AUDIT
    pgd_check: PgdCheck | None = None
    masking_check: MaskingCheck | None = None
    distances: DistanceCounts | None = None
    distances_stable: DistanceCounts | None = None
    repeated: RepeatedImages = NO_REPEATS
    records: RecordList | None = field(default=None, compare=False)
    attack_index: int = field(default=0, compare=False)

    @property
    def n(self) -> int:
        """Number of images that are counted."""
        return self.tallies[0].n

    @property
    def clean_accuracy(self) -> Rate:
        """Share of all images that are right before the attack."""
        return self.tallies[0].clean_accuracy

    @property
    def shows_stable(self) -> bool:
        """Whether more than 1 % of the images are saturated, so that the document has stable rates too."""
        first = self.tallies[0]
        cancels = self.attack.loss in LOGIT_LOSSES and not self.attack.stable
        return cancels and bool(self.stable) and first.saturated > WARNING_SHARE * first.n

    @property
    def invalid_reasons(self) -> list[str]:
        """Reasons why the rates must not be used."""
        found = tally_invalid_reasons((*self.tallies, *self.stable), self.bad, self.max_bad)
        if unknown := max((counts.unknown for counts in (self.distances, self.distances_stable) if counts is not None), default=0):
            found.append(
                f"{unknown:,} of {self.n:,} images have outputs that are not finite at a budget tried for their distance: look in "
                "the network for an overflow, or lower --max-epsilon"
            )
        if self.pgd_check is not None and self.pgd_check.nonfinite_outputs:
            found.append(
                f"{self.pgd_check.nonfinite_outputs:,} of the {self.pgd_check.n:,} images of the check have outputs that are not "
                "finite after one of its attacks: look in the network for a division by 0, a logarithm of 0, or an overflow"
            )
        return found

    @property
    def warnings(self) -> list[str]:
        """Warnings that belong beside the rates."""
        cancels = self.attack.loss in CANCELLING_LOSSES and not self.attack.stable
        found = [
            warning
            for tally in self.tallies
            for warning in tally_warnings(tally, cancels=cancels, bad=self.bad, max_bad=self.max_bad)
        ]
        found += [] if self.distances is None else self.distances.warnings
        masked = self.masking_check and self.masking_check.warning
        return list(dict.fromkeys([*self.preflight_warnings, *self.repeated.warnings, *found, *([masked] if masked else [])]))

    @property
    def area_under_curve(self) -> float | None:
        """Mean robust accuracy over budgets from 0 to the largest, by the trapezoidal rule; None if no budget is above 0."""
        return area_under_robust_accuracy(self.attack.epsilons, self.tallies)

    def first_epsilon(self, success_rate: float) -> float | None:
        """Return the smallest budget whose attack success rate is at least `success_rate`; None if there is none."""
        rates = (tally.attack_success_rate.value for tally in self.tallies)
        return first_epsilon_reaching(success_rate, self.attack.epsilons, rates)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.evaluation/1`."""
        first = self.tallies[0]
        own = {
            "attack": self.attack.to_dict(),
            "n": self.n,
            "repeats": self.repeated.repeats,
            "clean": clean_to_dict(first),
            "epsilons": [self._rates_at(index) for index in range(len(self.tallies))],
            "minimal_epsilon": self._minimal_epsilon(),
            "distance": self._distance(),
            "area_under_curve": self.area_under_curve,
            "stable_area_under_curve": area_under_robust_accuracy(self.attack.epsilons, self.stable) if self.shows_stable else None,
            "gradient": gradient_shares(first),
            "outputs": output_shares((*self.tallies, *self.stable)),
            "pgd_check": None if self.pgd_check is None else self.pgd_check.to_dict(),
            "masking_check": None if self.masking_check is None else self.masking_check.to_dict(),
            "plan": self.plan.to_dict()
            | {"decided_again": self.decided_again, "audit": self.audit.to_dict() if self.plan.guarded else None},
        }
        return build_document("rfgsm.evaluation/1", self, own)

    def save(self, directory: Path | str) -> Path:
        """Write a run directory, and return its path; see `save_run`."""
        from robustbench_fgsm import save_run

        return save_run(self, directory)

    def to_pandas(self) -> DataFrame:
        """Return the rates at each budget, one row for all images and one for each class; see `to_pandas` for the columns."""
        return to_pandas(self)

    def _rates_at(self, index: int) -> dict[str, Any]:
        found = {"epsilon": self.attack.epsilons[index], **rates_to_dict(self.tallies[index], self.classes)}
        if self.shows_stable:
            found["stable"] = rates_to_dict(self.stable[index], self.classes)
        return found

    def _distance(self) -> dict[str, Any] | None:
        if self.distances is None:
            return None
        stable = self.distances_stable if self.shows_stable else None
        return self.distances.to_dict(self.classes) | {"stable": None if stable is None else stable.to_dict(self.classes)}

    def _minimal_epsilon(self) -> dict[str, Any]:
        *fooled, never = self.first_fooled
        grid = sorted(self.attack.epsilons)
        return {
            "n": sum(self.first_fooled),
            "first_fooled": [{"epsilon": epsilon, "count": count} for epsilon, count in zip(grid, fooled, strict=True)],
            "never": never,
        }


class Sweep(ReportedResult, list[Evaluation]):
    """Result of `sweep`: a list with one evaluation for each targeting rule."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.sweep/1`."""
        return sweep_document(self)

    def save(self, directory: Path | str) -> Path:
        """Write a run directory as `rfgsm sweep --out` does, and return its path; see `save_run`."""
        from robustbench_fgsm import save_run

        return save_run(self, directory)

    def to_pandas(self) -> DataFrame:
        """Return the rates of all evaluations, one below the other; see `to_pandas` for the columns."""
        return to_pandas(self)


def area_under_robust_accuracy(epsilons: Sequence[float], tallies: Sequence[Tally]) -> float | None:
    """Return the mean robust accuracy from budget 0 to the largest, by trapezoids; None if no budget is above 0."""
    after = zip(epsilons, (tally.robust_accuracy.value for tally in tallies), strict=True)
    rates = {0.0: tallies[0].clean_accuracy.value} | dict(after)
    curve = sorted((epsilon, value) for epsilon, value in rates.items() if value is not None)
    width = curve[-1][0] if curve else 0.0
    if not width:
        return None
    pairs = pairwise(curve)
    return sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairs) / width


def first_epsilon_reaching(threshold: float, epsilons: Iterable[float], rates: Iterable[float | None]) -> float | None:
    """Return the smallest budget whose rate is at least the threshold; None if there is none. A rate of None reaches nothing."""
    pairs = zip(epsilons, rates, strict=True)
    return min((epsilon for epsilon, rate in pairs if rate is not None and rate >= threshold), default=None)


def clean_to_dict(tally: Tally) -> dict[str, Any]:
    """Return the rates before the attack as a JSON object; `labels` is there only if the network is multi-label."""
    found = {"accuracy": tally.clean_accuracy.to_dict(), "confusion": tally.class_matrix("clean")}
    return found if tally.label_rates is None else found | {"labels": tally.label_rates.before()}


def rates_to_dict(tally: Tally, classes: Sequence[str]) -> dict[str, Any]:
    """Return every rate and matrix after the attack, and the worst class, as a JSON object."""
    per_class = tally.per_class(classes)
    worst = worst_class(per_class)
    hits = tally.target_hit_rate
    return {
        "robust_accuracy": tally.robust_accuracy.to_dict(),
        "attack_success_rate": tally.attack_success_rate.to_dict(),
        "flip_rate": tally.flip_rate.to_dict(),
        "target_hit_rate": None if hits is None else hits.to_dict(),
        "accuracy_drop": tally.accuracy_drop.to_dict(),
        "leaked": tally.leaked,
        "worst_class": None if worst is None else worst.label,
        "worst_class_by_chance": lowest_rate_by_chance(
            [result.n for result in per_class] if tally.label_rates is None else [], tally.robust_accuracy.value
        ),
        "confusion": tally.class_matrix("adversarial"),
        "transition": tally.class_matrix("transition"),
        "per_class": [result.to_dict() for result in per_class],
        **({} if tally.label_rates is None else {"labels": tally.label_rates.after()}),
    }


def sweep_document(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the document `rfgsm.sweep/1`, with one evaluation for each targeting rule."""
    documents = [evaluation.to_dict() for evaluation in evaluations]
    reasons = [reason for document in documents for reason in document["invalid_reasons"]]
    warnings = [warning for document in documents for warning in document["warnings"]]
    environment, seconds = documents[0]["environment"], documents[0]["seconds"]["total"]
    code, own = max(document["exit_code"] for document in documents), {"evaluations": documents}
    return complete_document(
        "rfgsm.sweep/1", own, environment, seconds, code, list(dict.fromkeys(reasons)), list(dict.fromkeys(warnings))
    )


def to_pandas(evaluations: Evaluation | Sequence[Evaluation]) -> DataFrame:
    """Return the rates of one or more evaluations as a data frame: at each budget one row for all images and one for each class.

    Columns: targeted, epsilon, gradient, label and name (missing for all images), n, and for clean_accuracy, robust_accuracy and
    attack_success_rate the value, and with the suffixes _count, _n, _low and _high its count, denominator and 95 % interval. A
    value of 0/0 is missing.

    Args:
        evaluations: one evaluation, or a list that `sweep` returns.

    Raises:
        SettingError: if pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise SettingError(
            "to_pandas needs the package pandas, got none installed: pip install 'robustbench-fgsm[pandas]'"
        ) from error
    from robustbench_fgsm.report.documents.evaluation_csv import table_rows

    found = evaluations if isinstance(evaluations, Sequence) else [evaluations]
    frame = pd.DataFrame([row for evaluation in found for row in table_rows(evaluation.to_dict())])
    floats = [name for name in frame.columns if name.startswith(RATE_COLUMNS) and not name.endswith(("_n", "_count"))]
    typed: DataFrame = frame.astype({"label": "Int64"} | dict.fromkeys(floats, "float64"))
    return typed
