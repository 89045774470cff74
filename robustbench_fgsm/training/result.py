"""Result of a training: the classifier, its checks, and the document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.evaluation.document import build_document
from robustbench_fgsm.evaluation.result_protocol import Measurement, ReportedResult
from robustbench_fgsm.models.classifier import ModelInfo, TorchClassifier
from robustbench_fgsm.training.recipe import CHECKS_PER_EPOCH, TrainingRecipe
from robustbench_fgsm.training.watch import CatastrophicOverfitting, ValidationCheck


@dataclass(frozen=True, repr=False)
class Training(ReportedResult, Measurement):
    """A trained classifier and the record of its training.

    Args:
        n: number of training images, without the held-out images.
        checks: the check of each quarter of an epoch.
        best: index of the check with the kept weights; None if the last weights are kept.
        overfitting: the first sign of catastrophic overfitting, or None.
        stopped: True if early stopping ended the training.
        data_warnings: what is wrong with the images as a sample, as sentences.
    """

    classifier: TorchClassifier
    recipe: TrainingRecipe
    n: int
    checks: tuple[ValidationCheck, ...]
    best: int | None
    overfitting: CatastrophicOverfitting | None
    stopped: bool
    data_warnings: tuple[str, ...] = ()

    @property
    def model(self) -> ModelInfo:
        """Return the description of the trained classifier."""
        return self.classifier.info

    @property
    def kept(self) -> ValidationCheck:
        """Return the check with the kept weights."""
        return self.checks[-1 if self.best is None else self.best]

    @property
    def epochs(self) -> tuple[ValidationCheck, ...]:
        """Return the check at the end of each epoch."""
        return tuple(check for check in self.checks if check.quarter == CHECKS_PER_EPOCH)

    @property
    def invalid_reasons(self) -> list[str]:
        """Return why the rates of the kept weights must not be used; a training that fails raises an error."""
        kept = self.kept
        if not (kept.nonfinite_outputs and kept.clean):
            return []
        return [
            f"{kept.nonfinite_outputs:,} of {kept.clean.n:,} held-out images have outputs that are not finite, clean or "
            "under attack: lower the learning rate, or look in the network for a division by 0, a logarithm of 0, or an overflow"
        ]

    @property
    def warnings(self) -> list[str]:
        """Return sentences that readers need beside the numbers."""
        if self.overfitting is None:
            return [*self.data_warnings]
        kept = "the weights of an earlier check are kept" if self.best is not None else "its last weights are kept"
        return [*self.data_warnings, f"catastrophic overfitting: {self.overfitting.evidence}; {kept}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.training/1`."""
        own = {
            "recipe": self.recipe.to_dict(),
            "n": self.n,
            "checks": [check.to_dict() for check in self.checks],
            "kept": self.kept.to_dict(),
            "overfitting": None if self.overfitting is None else self.overfitting.to_dict(),
            "stopped_early": self.stopped,
        }
        return build_document("rfgsm.training/1", self, own)
