"""Check FGSM's result by a stronger attack, and by tests for gradient masking, on a sample of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from robustbench_fgsm.attack.iterated import ITERATED_NORMS, PGD_STEP_FACTOR
from robustbench_fgsm.attack.outputs import DECLARED_OUTPUTS
from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.subset import sample_images
from robustbench_fgsm.engine.progress import CheckProgress
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.evaluation.attacked_sample import SampleOutcomes, attack_sample
from robustbench_fgsm.evaluation.gradient_masking import MaskingCheck, run_masking_tests
from robustbench_fgsm.models.art import ArtClassifier
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.spec import AttackSpec, norm_name
from robustbench_fgsm.stats.paired import PairedCounts

PGD_CHECK_STEPS = 20


@dataclass(frozen=True)
class PgdCheck:
    """FGSM and PGD on the same images.

    Untargeted: share of all images that are right after the attack. Targeted: share of the images off target that are now
    predicted as the target. spec: the attack, with only the budget of the check. nonfinite_outputs: images whose outputs are not
    finite after any attack of the check.
    """

    spec: AttackSpec
    requested: int
    n: int
    fooled: PairedCounts
    nonfinite_outputs: int = 0

    @property
    def targeted(self) -> bool:
        """Whether the attack is targeted."""
        return self.spec.target.targeted

    @property
    def weak_attack(self) -> bool:
        """Whether PGD fools more images than FGSM, and the interval excludes 0."""
        return self.fooled.difference_interval is not None and self.fooled.difference_interval[0] > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the check as a JSON object."""
        return {
            "n": self.n,
            "asked": self.requested,
            "seed": self.spec.seed,
            "epsilon": self.spec.epsilons[0],
            "norm": norm_name(self.spec.norm),
            "targeted": str(self.spec.target),
            "steps": PGD_CHECK_STEPS,
            "step_size": PGD_STEP_FACTOR * self.spec.epsilons[0] / PGD_CHECK_STEPS,
            "restarts": 1,
            "measure": "attack_success_rate" if self.targeted else "robust_accuracy",
            "fgsm": self._rate(self.fooled.first_rate.count),
            "pgd": self._rate(self.fooled.second_rate.count),
            "overstated": self.fooled.to_dict(),
            "fgsm_only": self.fooled.first_only,
            "pgd_only": self.fooled.second_only,
            "weak_attack": self.weak_attack,
        }

    def _rate(self, fooled: int) -> dict[str, Any]:
        count = fooled if self.targeted else self.fooled.n - fooled
        return replace(self.fooled.first_rate, count=count).to_dict()


NO_CHECKS = CheckOptions()


def validate_checks(checks: CheckOptions, specs: Sequence[AttackSpec], classifier: Classifier) -> None:
    """Raise SettingError or ModelError if the requested checks do not support the attacks or the classifier."""
    if not checks.sample_size:
        return
    for spec in specs:
        if spec.norm not in ITERATED_NORMS:
            raise SettingError(
                f"--pgd-check and --check-masking need norm inf or 2, where PGD projects exactly, got {norm_name(spec.norm)}: "
                "leave them out"
            )
        if checks.masking and spec.loss in DECLARED_OUTPUTS:
            raise SettingError(f"--check-masking needs logits for ART's Square attack, got loss {spec.loss}: leave it out")
        if isinstance(classifier, TorchClassifier) and classifier.task == "multilabel":
            raise SettingError("--pgd-check and --check-masking need softmax, which a multi-label model has not: leave them out")
    if checks.masking and all(spec.target.targeted for spec in specs):
        raise SettingError(f"--check-masking is about untargeted attacks, got targeted {specs[0].target}: leave targeted out")
    if checks.masking and not isinstance(classifier, TorchClassifier | ArtClassifier):
        raise ModelError(f"--check-masking needs a PyTorch network or one from ART, got {type(classifier).__name__}: leave it out")


def run_checks(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    checks: CheckOptions,
    batch_size: int,
    check_progress: CheckProgress | None = None,
) -> tuple[PgdCheck | None, MaskingCheck | None]:
    """Run the requested checks at the largest budget of the attack, on a stratified sample that the seed draws.

    The tests for masking need an untargeted attack. check_progress: called before each attack. Returns None for a check that
    was not requested.
    """
    masking = checks.masking and not spec.target.targeted
    if not (checks.pgd or masking):
        return None, None
    spec = replace(spec, epsilons=(max(spec.epsilons),))
    sample = sample_images(data, checks.sample_size, seed=spec.seed, stratified=True)
    with torch.random.fork_rng([]):  # ART's loader of batches draws from the global generator
        outcomes = attack_sample(
            classifier, sample, spec, batch_size, pgd_steps=PGD_CHECK_STEPS, check_masking=masking, check_progress=check_progress
        )
    check = build_pgd_check(outcomes, spec, checks.sample_size)
    return check, run_masking_tests(outcomes, spec) if masking else None


def build_pgd_check(outcomes: SampleOutcomes, spec: AttackSpec, requested: int) -> PgdCheck:
    """Return the check that follows from the outcomes."""
    fgsm, pgd = (outcomes.fooled(name)[outcomes.off_target] for name in ("fgsm", "pgd"))
    return PgdCheck(spec, requested, len(outcomes), PairedCounts.of(fgsm, pgd), outcomes.nonfinite_outputs)
