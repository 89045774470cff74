"""Attack batch after batch under a plan, and emit the outcomes of each image once they are certain.

Two kinds of images are computed a second time. Under a guarded plan, uncertain outcomes are decided again in the plain layout.
Saturated images are attacked again along their exact gradients, which are counted separately. Both kinds wait until they fill
a batch, because a small batch takes longer per image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine import rounding_guard
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict, predict_classes
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.outcomes import ObservedBatch, OutcomeBuffer, PendingOutcomes, replaces_counts
from robustbench_fgsm.engine.plan import PlannedClassifier
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes

OutcomeSink = Callable[[BatchOutcomes], None]
"""Called with certain outcomes; each image comes once, in any order."""


class PlannedAttack:
    """One attack under a plan: attacks batch after batch and emits outcomes to a sink.

    decided_again: images that the plain layout decided again.
    """

    def __init__(
        self, planned: PlannedClassifier, spec: AttackSpec, classes: tuple[str, ...], sink: OutcomeSink, splitter: BatchSplitter
    ) -> None:
        self.decided_again = 0
        self._planned, self._spec, self._classes, self._sink, self._splitter = planned, spec, classes, sink, splitter
        self._at_risk = OutcomeBuffer[ObservedBatch](planned.plan.batch_size)
        self._saturated = OutcomeBuffer[ObservedBatch](planned.plan.batch_size)
        self._replaces_counts = replaces_counts(planned.plain_classifier, spec)
        self._pending: list[PendingOutcomes] = []
        self._asynchronous = is_asynchronous(planned.plain_classifier.device)

    def add(self, batch: Batch) -> None:
        """Attack the batch and emit what is certain.

        A GPU gets the next batch before the outcomes of this batch are read, so that it never waits.
        """
        previous = self._pending
        self._pending = self._start_attack(self._planned.classifier, batch, self._spec, self._planned.plan.guarded)
        if not self._asynchronous:
            previous, self._pending = self._pending, []
        self._collect(previous)

    def finish(self) -> None:
        """Decide and emit all images that wait."""
        previous, self._pending = self._pending, []
        self._collect(previous)
        self._decide_again(self._at_risk.flush())
        self._attack_saturated(self._saturated.flush())

    def _collect(self, pending: list[PendingOutcomes]) -> None:
        if not pending:
            return
        observed = ObservedBatch.concatenate([part.wait() for part in pending])
        at_risk = observed.direction_risk.any(1)
        if bool(at_risk.any()):
            self._decide_again(self._at_risk.add(observed.at(at_risk)))
            observed = observed.at(~at_risk)
        self._emit(observed)

    def _decide_again(self, waiting: list[ObservedBatch]) -> None:
        if waiting:
            images = ObservedBatch.concatenate(waiting)
            self.decided_again += len(images)
            for part in self._splitter.map_parts(
                len(images), lambda rows: decide_again(self._planned.plain_classifier, images.at(rows), self._spec, self._classes)
            ):
                self._emit(part)

    def _emit(self, observed: ObservedBatch) -> None:
        saturated = torch.from_numpy(observed.outcomes.saturated)
        if not (self._replaces_counts and bool(saturated.any())):
            self._sink(observed.outcomes)
            return
        self._sink(observed.outcomes.at(~observed.outcomes.saturated))
        self._attack_saturated(self._saturated.add(observed.without_risks().at(saturated)))

    def _attack_saturated(self, waiting: list[ObservedBatch]) -> None:
        """Attack saturated images along exact gradients, which changes only `after_stable`."""
        if waiting:
            images = ObservedBatch.concatenate(waiting)
            exact = replace(self._spec, stable=True)
            pending = self._start_attack(self._planned.plain_classifier, images.batch, exact, guarded=False)
            after = ObservedBatch.concatenate([part.wait() for part in pending]).outcomes.after
            self._sink(replace(images.outcomes, after_stable=after))

    def _start_attack(self, classifier: Classifier, batch: Batch, spec: AttackSpec, guarded: bool) -> list[PendingOutcomes]:
        return self._splitter.map_parts(
            len(batch), lambda rows: start_attack(classifier, batch.at(rows), spec, self._classes, guarded=guarded)
        )


def is_asynchronous(device: torch.device) -> bool:
    """Return whether the device computes while the host prepares the next batch."""
    return device.type == "cuda"


def start_attack(
    classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...], *, guarded: bool = False
) -> PendingOutcomes:
    """Compute one gradient and the predictions at every budget; guarded: also find the images at risk of rounding."""
    attacked = attack_batch(classifier, batch, spec, classes)
    if not guarded:
        after = [craft_and_predict(classifier, attacked, spec, epsilon)[1] for epsilon in spec.epsilons]
        return PendingOutcomes.start(attacked, after)
    clean_risk = rounding_guard.clean_rounding_risk(attacked, spec)
    risks, after = [], []
    for epsilon in spec.epsilons:
        outputs = classifier.predict(attacked.gradient_step.perturb(epsilon))
        risk = rounding_guard.rounding_risk(attacked.gradient_step.outputs, outputs)
        risks.append(risk | rounding_guard.RoundingRisk(clean_risk, clean_risk))
        after.append(predicted_classes(outputs))
    return PendingOutcomes.start(attacked, after, risks)


def decide_again(plain_classifier: Classifier, at_risk: ObservedBatch, spec: AttackSpec, classes: tuple[str, ...]) -> ObservedBatch:
    """Return the outcomes of the plain layout for images at risk of rounding.

    Each image gets its gradient again. If the gradient is the one it had, and its margin is not as narrow as rounding alone, the
    prediction stays. All other images are predicted again, at the budgets at risk.
    """
    attacked = attack_batch(plain_classifier, at_risk.batch, spec, classes)
    direction = attacked.gradient_step.direction
    moved = ~rounding_guard.same_gradient(at_risk.direction.to(direction.device), direction).cpu()
    pairs = ((moved.unsqueeze(1) & at_risk.direction_risk) | at_risk.prediction_risk).T.nonzero()
    after = torch.from_numpy(at_risk.outcomes.after.copy())
    for low in range(0, len(pairs), len(at_risk)):  # as many at a time as fitted into memory before
        budgets, rows = pairs[low : low + len(at_risk)].unbind(1)
        crafted = [
            attacked.at(rows[budgets == budget]).gradient_step.perturb(spec.epsilons[budget])
            for budget in sorted(set(budgets.tolist()))
        ]
        after[rows, budgets] = predict_classes(plain_classifier, torch.cat(crafted)).cpu()
    return replace(at_risk.without_risks(), outcomes=attacked.outcomes(after))
