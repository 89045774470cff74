"""The contenders of a benchmark: the bare loop, our implementation at each optimisation level, and every reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal

import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.benchmarking.bare_loop import BareLoop, BareResult
from robustbench_fgsm.data.dataset import Dataset, readable_batches
from robustbench_fgsm.engine.attack_batch import attack_batch
from robustbench_fgsm.engine.choose_plan import choose_plan
from robustbench_fgsm.engine.plan import OptimizeLevel, PlannedClassifier, apply_plan, check_optimize_level
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.references.batched_reference import BatchedReference
from robustbench_fgsm.references.registry import Reference, load_reference
from robustbench_fgsm.spec import AttackSpec

BARE_LOOP_LAYOUTS = {"channels-last": torch.channels_last, "default": torch.contiguous_format}


@dataclass(frozen=True)
class OurImplementation:
    """`run_attacks` as `evaluate` and `sweep` call it, under a plan that is made once, as in a long run."""

    execution: PlannedClassifier
    spec: AttackSpec
    version: str

    def attack(self, data: Dataset, epsilons: Sequence[float]) -> int:
        """Attack all images at each epsilon, without predictions."""
        crafted, classifier = 0, self.execution.gradient_classifier
        for batch in readable_batches(data, 0, len(data), self.execution.plan.batch_size, []):
            gradient_step = attack_batch(classifier, batch, self.spec, data.classes).gradient_step
            for epsilon in epsilons:
                crafted += len(gradient_step.perturb(epsilon))
        return crafted

    def job(self, data: Dataset, epsilons: Sequence[float]) -> BareResult:
        """Run a whole evaluation, with its checks, tallies and confusion matrices."""
        spec = replace(self.spec, epsilons=tuple(epsilons))
        (found,) = run_attacks(self.execution.plain_classifier, data, [spec], RunOptions(max_bad=len(data)), plan=self.execution)
        robust = tuple(tally.robust_accuracy.count for tally in found.tallies)
        return BareResult(found.n, found.clean_accuracy.count, robust, tuple(found.invalid_reasons))


@dataclass(frozen=True)
class ReferenceImplementation:
    """Another library, which attacks one batch at a time and takes a new gradient for each epsilon."""

    reference: Reference
    batch_size: int
    device: torch.device

    @property
    def version(self) -> str:
        """Return the version of the library."""
        return self.reference.version

    def attack(self, data: Dataset, epsilons: Sequence[float]) -> int:
        """Attack all images at each epsilon."""
        return sum(len(self._perturb_batch(x, y, epsilon)) for x, y in self._batches(data) for epsilon in epsilons)

    def job(self, data: Dataset, epsilons: Sequence[float]) -> BareResult:
        """Predict, attack at each epsilon and predict again, with the library's own functions if it has them."""
        n, clean, robust = 0, 0, [0] * len(epsilons)
        for x, y in self._batches(data):
            clean += self._count_correct(x, y)
            for index, epsilon in enumerate(epsilons):
                robust[index] += self._count_correct(self._perturb_batch(x, y, epsilon), y)
            n += len(y)
        return BareResult(n, clean, tuple(robust))

    def _batches(self, data: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches on the device, or on the CPU for libraries that take arrays and move these themselves."""
        for batch in readable_batches(data, 0, len(data), self.batch_size, []):
            if isinstance(self.reference, BatchedReference):
                yield batch.images.to(self.device), batch.labels.to(self.device)
            else:
                yield batch.images, batch.labels

    def _perturb_batch(self, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if isinstance(self.reference, BatchedReference):
            return self.reference.perturb_batch(x, y, epsilon).detach()
        return self.reference.fgsm(x, y, epsilon)

    def _count_correct(self, x: Tensor, y: Tensor) -> int:
        if isinstance(self.reference, BatchedReference):
            with torch.no_grad():
                outputs = self.reference.network(x)
        else:
            outputs = self.reference.predict(x)
        return int((predicted_classes(outputs) == y).sum())


TimedImplementation = BareLoop | OurImplementation | ReferenceImplementation
"""An implementation that is ready to run: its `attack` and `job` do equal work."""


@dataclass(frozen=True)
class Contender:
    """One contender by name; configuration: a memory layout, an optimisation level, or the name of a reference."""

    kind: Literal["bare", "ours", "reference"]
    configuration: str

    @property
    def name(self) -> str:
        """Return `bare channels-last`, `ours none`, or the name of the reference."""
        return self.configuration if self.kind == "reference" else f"{self.kind} {self.configuration}"

    def make_implementation(
        self, classifier: TorchClassifier, data: Dataset, spec: AttackSpec, batch_size: int
    ) -> TimedImplementation:
        """Return the implementation with its own network, planned on the first images; raise as `load_reference` does."""
        if self.kind == "bare":
            layout = BARE_LOOP_LAYOUTS[self.configuration]
            network = classifier.copy_network(memory_format=layout)
            return BareLoop(network, layout, spec.norm, spec.bounds, batch_size, classifier.device)
        if self.kind == "ours":
            plan = choose_plan(classifier, data, [spec], RunOptions(batch_size, self.configuration))
            return OurImplementation(apply_plan(classifier, plan), spec, version("robustbench-fgsm"))
        return ReferenceImplementation(
            load_reference(self.configuration, classifier, spec, batch_size), batch_size, classifier.device
        )


def list_contenders(classifier: TorchClassifier, levels: Sequence[str], references: Sequence[str]) -> list[Contender]:
    """Return all contenders, first the unit: the bare loop, in channels-last layout if the network has this variant."""
    layouts = BARE_LOOP_LAYOUTS if classifier.has_variants else ["default"]
    return [
        *(Contender("bare", layout) for layout in layouts),
        *(Contender("ours", level) for level in levels),
        *(Contender("reference", name) for name in references),
    ]


def check_levels(levels: Sequence[str]) -> list[OptimizeLevel]:
    """Return the levels without spaces and repetition; raise SettingError for no level and for an unknown level."""
    found = list(dict.fromkeys(level.strip() for level in levels))
    return [check_optimize_level(level) for level in found or [""]]


def check_pytorch_network(classifier: Classifier) -> TorchClassifier:
    """Return the classifier; raise ModelError if it is not a PyTorch network, which the bare loop needs."""
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(f"benchmark needs a PyTorch network, got {type(classifier).__name__}: use compare for others")
    return classifier
