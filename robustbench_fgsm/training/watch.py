"""What is watched while a network learns, and what it means when accuracy under PGD falls away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.evaluation.stronger_attacks import pgd
from robustbench_fgsm.models.classifier import TorchClassifier, move_to_classifier
from robustbench_fgsm.stats.rate import Rate

PGD_STEPS = 10
PGD_DROP_THRESHOLD = 0.20
"""Between two checks."""


@dataclass(frozen=True)
class ValidationCheck:
    """The network at one moment: epoch and quarter from 1, steps done, mean loss since the last check, learning rate.

    clean, fgsm, pgd: right on the held-out images, in evaluation mode; None where none were held out.
    """

    epoch: int
    quarter: int
    step: int
    loss: float
    learning_rate: float
    clean: Rate | None = None
    fgsm: Rate | None = None
    pgd: Rate | None = None

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON and the log know it."""
        rates = {name: None if rate is None else rate.to_dict() for name, rate in self.rates.items()}
        own = ("epoch", "quarter", "step", "loss", "learning_rate")
        return {name: getattr(self, name) for name in own} | rates

    @property
    def rates(self) -> dict[str, Rate | None]:
        """By name."""
        return {"clean": self.clean, "fgsm": self.fgsm, "pgd": self.pgd}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ValidationCheck:
        """The inverse of `to_dict`."""
        rates = {name: document[name] and Rate(document[name]["count"], document[name]["n"]) for name in ("clean", "fgsm", "pgd")}
        return cls(**{**document, **rates})


@dataclass(frozen=True)
class CatastrophicOverfitting:
    """Catastrophic overfitting (Wong et al. 2020): FGSM no longer stands for stronger attacks. In words, and where."""

    epoch: int
    quarter: int
    rule: str
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"epoch": self.epoch, "quarter": self.quarter, "rule": self.rule, "evidence": self.evidence}


HeldOutEvaluator = Callable[[TorchClassifier], Mapping[str, Rate]]


def make_held_out_evaluator(held_out: Batch, epsilon: float, seed: int) -> HeldOutEvaluator:
    """Counts right predictions on the held-out images: clean, under our FGSM, and under ART's PGD-10, at epsilon."""

    def watch(classifier: TorchClassifier) -> dict[str, Rate]:
        x, y = move_to_classifier(held_out.images, classifier), held_out.labels.to(classifier.device)
        crafted = {
            "clean": x,
            "fgsm": fgsm(classifier.network, x, y, epsilon, bounds=classifier.bounds),
            "pgd": pgd(classifier, x, y, epsilon, steps=PGD_STEPS, seed=seed),
        }
        return {name: Rate(int((classifier.predict(found).argmax(1) == y).sum()), len(y)) for name, found in crafted.items()}

    return watch


def find_catastrophic_overfitting(checks: Sequence[ValidationCheck], num_classes: int) -> CatastrophicOverfitting | None:
    """The first check at which accuracy under PGD has fallen by more than 20 points, or below half of FGSM's.

    The first only where FGSM's has not fallen half as far with it, as where learning is merely unsteady; the second only
    where PGD's once was above half of FGSM's, and above chance (its interval's lower end above 1 / K), since a network
    that has learnt nothing yet answers every attack alike. None where neither happened.
    """
    was_above, before = False, (0.0, 0.0)
    for check in checks:
        if check.pgd is None or check.fgsm is None or not check.pgd.n:
            continue
        now = under_fgsm, under_pgd = check.fgsm.count / check.fgsm.n, check.pgd.count / check.pgd.n
        fgsm_fell, pgd_fell = before[0] - under_fgsm, before[1] - under_pgd
        where = f"epoch {check.epoch}, quarter {check.quarter}"
        if pgd_fell > PGD_DROP_THRESHOLD and fgsm_fell < pgd_fell / 2:
            evidence = (
                f"accuracy under PGD-{PGD_STEPS} fell from {before[1]:.1%} to {under_pgd:.1%} by {where}, "
                f"and FGSM's is {under_fgsm:.1%}"
            )
            return CatastrophicOverfitting(check.epoch, check.quarter, "fell", evidence)
        if was_above and under_pgd < under_fgsm / 2:
            evidence = f"accuracy under PGD-{PGD_STEPS} is {under_pgd:.1%} at {where}, below half of FGSM's {under_fgsm:.1%}"
            return CatastrophicOverfitting(check.epoch, check.quarter, "below-half", evidence)
        lowest = check.pgd.interval[0] if check.pgd.interval else 0.0
        was_above |= under_pgd >= under_fgsm / 2 and lowest > 1 / num_classes
        before = now
    return None
