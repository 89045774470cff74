"""An evaluation or a sweep before it runs: command, classifier, images, attacks and plan, and the manifest of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.engine.dataset_pieces import Pieces, piece_size
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.evaluation.checks import NO_CHECKS
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.runs.manifest import RUN_SCHEMA, EvaluationCommand
from robustbench_fgsm.runs.settings import run_settings
from robustbench_fgsm.spec import AttackSpec


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation or a sweep: its command, classifier, images and attacks, under an execution plan."""

    command: EvaluationCommand
    classifier: Classifier
    data: Dataset
    specs: tuple[AttackSpec, ...]
    plan: Plan
    max_bad: int = 0
    checks: CheckOptions = NO_CHECKS
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    """Thresholds on the result, which `rfgsm runs resume` applies again. They may change."""
    preflight_warnings: tuple[str, ...] | None = None
    """Warnings of the preflight; None if it has not run."""

    @property
    def pieces(self) -> Pieces:
        """Return how the images are divided into pieces."""
        return Pieces(len(self.data), piece_size(self.plan, self.classifier.device))

    def settings(self) -> dict[str, Any]:
        """Return the settings, as JSON."""
        return run_settings(
            self.command,
            self.classifier,
            self.data,
            self.specs,
            max_bad=self.max_bad,
            plan=self.plan,
            piece_size=self.pieces.size,
            **self._checks_setting(),
        )

    def _checks_setting(self) -> dict[str, Any]:
        return {"checks": self.checks.to_dict()} if self.checks.sample_size else {}

    def to_manifest(self) -> dict[str, Any]:
        """Return the settings, the thresholds, and the environment in which the run started."""
        return {
            "schema": RUN_SCHEMA,
            **self.settings(),
            "asked": dict(self.thresholds),
            "environment": describe_environment(self.classifier.device),
        }
