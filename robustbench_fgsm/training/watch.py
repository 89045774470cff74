"""Checks on held-out images during training, and the detection of catastrophic overfitting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.attack.gradient import NO_CLASS
from robustbench_fgsm.attack.iterated import pgd
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import predict_classes
from robustbench_fgsm.models.classifier import TorchClassifier, move_to_classifier
from robustbench_fgsm.stats.rate import Rate

PGD_STEPS = 10
PGD_DROP_THRESHOLD = 0.20
"""Fall of accuracy under PGD between two checks that counts as catastrophic overfitting."""


@dataclass(frozen=True)
class ValidationCheck:
    """State of a training at the end of a quarter of an epoch.

    Args:
        epoch: number of the epoch, from 1.
        quarter: number of the quarter, from 1.
        step: optimizer steps so far.
        loss: mean loss since the last check.
        learning_rate: current learning rate.
        clean: accuracy on the held-out images in eval mode; None if no images are held out. `fgsm`, `pgd`: under attack.
        nonfinite_outputs: held-out images whose outputs are not finite, clean or under attack.
    """

    epoch: int
    quarter: int
    step: int
    loss: float
    learning_rate: float
    clean: Rate | None = None
    fgsm: Rate | None = None
    pgd: Rate | None = None
    nonfinite_outputs: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the check as a JSON object of document and log."""
        rates = {name: None if rate is None else rate.to_dict() for name, rate in self.rates.items()}
        own = ("epoch", "quarter", "step", "loss", "learning_rate", "nonfinite_outputs")
        return {name: getattr(self, name) for name in own} | rates

    @property
    def rates(self) -> dict[str, Rate | None]:
        """Return the three accuracies by their names."""
        return {"clean": self.clean, "fgsm": self.fgsm, "pgd": self.pgd}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ValidationCheck:
        """Return the check that `to_dict` wrote."""
        rates = {name: document[name] and Rate(document[name]["count"], document[name]["n"]) for name in ("clean", "fgsm", "pgd")}
        return cls(**{**document, **rates})


@dataclass(frozen=True)
class CatastrophicOverfitting:
    """Catastrophic overfitting (Wong et al. 2020, arXiv:2001.03994): robust to FGSM, not to PGD. Where, and the evidence."""

    epoch: int
    quarter: int
    rule: str
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return asdict(self)


HeldOutEvaluator = Callable[[TorchClassifier], Mapping[str, Any]]
"""Function from a classifier to the fields of `ValidationCheck` that the held-out images give."""


def make_held_out_evaluator(held_out: Batch, epsilon: float, seed: int) -> HeldOutEvaluator:
    """Return a function that measures accuracy on the held-out images: clean, under FGSM, and under PGD-10.

    The function also counts the images whose outputs are not finite.
    """

    def evaluate_held_out(classifier: TorchClassifier) -> dict[str, Any]:
        x, y = move_to_classifier(held_out.images, classifier), held_out.labels.to(classifier.device)
        crafted = {
            "clean": x,
            "fgsm": fgsm(classifier.network, x, y, epsilon, bounds=classifier.bounds),
            "pgd": pgd(classifier.network, x, y, epsilon, steps=PGD_STEPS, bounds=classifier.bounds, ids=held_out.ids, seed=seed),
        }
        classes = {name: predict_classes(classifier, found) for name, found in crafted.items()}
        rates = {name: Rate(int((found == y).sum()), len(y)) for name, found in classes.items()}
        nonfinite = torch.stack([found == NO_CLASS for found in classes.values()]).any(0)
        return {**rates, "nonfinite_outputs": int(nonfinite.sum())}

    return evaluate_held_out


def find_catastrophic_overfitting(checks: Sequence[ValidationCheck], num_classes: int) -> CatastrophicOverfitting | None:
    """Return the first check that shows catastrophic overfitting, or None.

    Rule `fell`: accuracy under PGD falls by more than 20 points between two checks, and accuracy under FGSM falls by less
    than half of it. (If both fall, the training is only unsteady.) Rule `below-half`: accuracy under PGD is below half of
    accuracy under FGSM, after it was above half of it and above chance. Above chance means that the lower end of its
    interval is above 1 / num_classes: an untrained network gives each attack the same accuracy.
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
