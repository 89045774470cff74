"""Who takes part in a benchmark: the bare loop, our own run at each level, and every other library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal, Protocol

import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import ensure_two_logits
from robustbench_fgsm.benchmarking.bare_loop import BareLoop, BareResult
from robustbench_fgsm.data.dataset import Dataset, readable_batches
from robustbench_fgsm.engine.attack_batch import attack_batch
from robustbench_fgsm.engine.plan import OptimizeLevel, PlannedClassifier, apply_plan, check_optimize_level, choose_plan
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.references.batched import BatchedReference
from robustbench_fgsm.references.registry import Reference, load_reference
from robustbench_fgsm.spec import AttackSpec, RunOptions

BARE_LOOP_LAYOUTS = {"channels-last": torch.channels_last, "default": torch.contiguous_format}


class TimedImplementation(Protocol):
    """One implementation, ready to run; `attack` and `job` do the same work whoever does it."""

    @property
    def version(self) -> str:
        """Of the library."""

    def attack(self, data: Dataset, epsilons: Sequence[float]) -> int:
        """Craft all images at each budget; returns how many were made."""

    def job(self, data: Dataset, epsilons: Sequence[float]) -> BareResult:
        """Predict, attack at each budget and predict again."""


@dataclass(frozen=True)
class OurImplementation:
    """`run_attacks`, as `evaluate` and `sweep` call it, under a plan made once, as for a long run."""

    execution: PlannedClassifier
    spec: AttackSpec
    version: str

    def attack(self, data: Dataset, epsilons: Sequence[float]) -> int:
        """Craft all images at each budget, a batch at a time, without the predictions."""
        made, classifier = 0, self.execution.classifier
        for batch in readable_batches(data, 0, len(data), self.execution.plan.batch_size, []):
            ascent = attack_batch(classifier, batch, self.spec, data.classes).gradient_step
            for epsilon in epsilons:
                made += len(ascent.perturb(epsilon))
        return made

    def job(self, data: Dataset, epsilons: Sequence[float]) -> BareResult:
        """The whole of an evaluation, with its checks, tallies and confusion matrices."""
        spec = replace(self.spec, epsilons=tuple(epsilons))
        (found,) = run_attacks(self.execution.plain_classifier, data, [spec], RunOptions(max_bad=len(data)), plan=self.execution)
        return BareResult(found.n, found.clean_accuracy.count, tuple(t.robust_accuracy.count for t in found.tallies))


@dataclass(frozen=True)
class ReferenceImplementation:
    """Another library, a batch at a time; it takes its gradient anew for each budget."""

    reference: Reference
    batch_size: int
    device: torch.device

    @property
    def version(self) -> str:
        """Of the library."""
        return self.reference.version

    def attack(self, data: Dataset, epsilons: Sequence[float]) -> int:
        """Craft all images at each budget."""
        return sum(len(self._perturb_batch(x, y, epsilon)) for x, y in self._batches(data) for epsilon in epsilons)

    def job(self, data: Dataset, epsilons: Sequence[float]) -> BareResult:
        """Predict, attack at each budget and predict again, each by the library's own means where it has them."""
        n, right = 0, [0] * (1 + len(epsilons))
        for x, y in self._batches(data):
            right[0] += self._count_correct(x, y)
            for place, epsilon in enumerate(epsilons, 1):
                right[place] += self._count_correct(self._perturb_batch(x, y, epsilon), y)
            n += len(y)
        return BareResult(n, right[0], tuple(right[1:]))

    def _batches(self, data: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
        """On the device where a user would have them: not so for libraries that take arrays and move these themselves."""
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
                outputs = ensure_two_logits(self.reference.network(x))
        else:
            outputs = self.reference.predict(x)
        return int((outputs.argmax(1) == y).sum())


@dataclass(frozen=True)
class Contender:
    """A place in the race, before anything is made for it. which: a layout, a level, or the name of a reference."""

    kind: Literal["bare", "ours", "reference"]
    configuration: str

    @property
    def name(self) -> str:
        """`bare channels-last`, `ours none`, or that of the reference."""
        return self.configuration if self.kind == "reference" else f"{self.kind} {self.configuration}"

    def make_implementation(
        self, classifier: TorchClassifier, data: Dataset, spec: AttackSpec, batch_size: int
    ) -> TimedImplementation:
        """The contender with a network of its own, planned on the first of the data; raises as `load_reference` does."""
        if self.kind == "bare":
            layout = BARE_LOOP_LAYOUTS[self.configuration]
            network = classifier.copy_network(memory_format=layout)
            return BareLoop(network, layout, spec.norm, spec.bounds, batch_size, classifier.device)
        if self.kind == "ours":
            plan = choose_plan(classifier, data, [spec], self.configuration, batch_size, trial_images=batch_size)
            return OurImplementation(apply_plan(classifier, plan), spec, version("robustbench-fgsm"))
        return ReferenceImplementation(
            load_reference(self.configuration, classifier, spec, batch_size), batch_size, classifier.device
        )


def list_contenders(classifier: TorchClassifier, levels: Sequence[str], references: Sequence[str]) -> list[Contender]:
    """All that take part, the unit first: the bare loop, channels last wherever the network has such a variant."""
    layouts = BARE_LOOP_LAYOUTS if classifier.has_variants else ["default"]
    return [
        *(Contender("bare", layout) for layout in layouts),
        *(Contender("ours", level) for level in levels),
        *(Contender("reference", name) for name in references),
    ]


def check_levels(levels: Sequence[str]) -> list[OptimizeLevel]:
    """The levels without surrounding space and repetition; raises SettingError for none, and for an unknown one."""
    found = list(dict.fromkeys(level.strip() for level in levels))
    return [check_optimize_level(level) for level in found or [""]]


def check_pytorch_network(classifier: Classifier) -> TorchClassifier:
    """The classifier; raises ModelError for anything but a PyTorch network, which the bare loop needs."""
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(f"benchmark needs a PyTorch network, got {type(classifier).__name__}: use compare for others")
    return classifier
