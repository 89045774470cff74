"""Attack batch after batch under a plan, and emit the outcomes of each image once they are certain.

Under a guarded plan, predictions at risk of rounding are those of the plain network, and an audit predicts some images again.
Saturated images are attacked a second time, along their exact gradients, which are counted separately. They wait until they
fill a batch, because a small batch takes longer per image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch, craft_and_run, predict_classes
from robustbench_fgsm.engine.distances import measure_distances
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.outcomes import ObservedBatch, OutcomeBuffer, PendingOutcomes, replaces_counts
from robustbench_fgsm.engine.plan import PLAIN_PLAN, PlannedClassifier
from robustbench_fgsm.engine.rounding_guard import RoundingGuard, measure_margins
from robustbench_fgsm.models.classifier import decide
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.audit import NO_AUDIT, AuditCounts
from robustbench_fgsm.stats.tally import MAX_BUDGETS, BatchOutcomes

OutcomeSink = Callable[[BatchOutcomes], None]
"""Called with certain outcomes; each image comes once, in any order."""


class PlannedAttack:
    """One attack under a plan: attacks batch after batch and emits outcomes to a sink.

    decided_again: images that the plain network predicted again at some budget. audit: images of the audit so far.
    """

    def __init__(
        self, planned: PlannedClassifier, spec: AttackSpec, classes: tuple[str, ...], sink: OutcomeSink, splitter: BatchSplitter
    ) -> None:
        self.decided_again, self.audit = 0, NO_AUDIT
        plain = planned.plain_classifier
        self._planned, self._plain = planned, PlannedClassifier(PLAIN_PLAN, plain, plain, keeps_margins=planned.keeps_margins)
        self._spec, self._classes, self._sink, self._splitter = spec, classes, sink, splitter
        self._saturated = OutcomeBuffer[ObservedBatch](planned.plan.batch_size)
        self._replaces_counts = replaces_counts(planned.plain_classifier, spec)
        self._pending: list[PendingOutcomes] = []
        self._asynchronous = is_asynchronous(planned.plain_classifier.device)

    def add(self, batch: Batch) -> None:
        """Attack the batch and emit what is certain.

        A GPU gets the next batch before the outcomes of this batch are read, so that it never waits.
        """
        previous = self._pending
        self._pending = self._start_attack(self._planned, batch, self._spec)
        if not self._asynchronous:
            previous, self._pending = self._pending, []
        self._collect(previous)

    def finish(self) -> None:
        """Emit all images that wait."""
        previous, self._pending = self._pending, []
        self._collect(previous)
        self._attack_saturated(self._saturated.flush())

    def _collect(self, pending: list[PendingOutcomes]) -> None:
        if not pending:
            return
        observed = ObservedBatch.concatenate([part.wait() for part in pending])
        saturated = torch.from_numpy(observed.outcomes.saturated)
        if not (self._replaces_counts and bool(saturated.any())):
            self._sink(observed.outcomes)
            return
        self._sink(observed.outcomes.at(~observed.outcomes.saturated))
        self._attack_saturated(self._saturated.add(observed.at(saturated)))

    def _attack_saturated(self, waiting: list[ObservedBatch]) -> None:
        """Attack saturated images along exact gradients, which changes only `after_stable`."""
        if waiting:
            images = ObservedBatch.concatenate(waiting)
            pending = self._start_attack(self._plain, images.batch, replace(self._spec, stable=True))
            found = ObservedBatch.concatenate([part.wait() for part in pending]).outcomes
            ours, theirs = images.outcomes.margins, found.margins
            margins = None if ours is None or theirs is None else np.minimum(ours, theirs)
            self._sink(replace(images.outcomes, after_stable=found.after, distances_stable=found.distances, margins=margins))

    def _start_attack(self, planned: PlannedClassifier, batch: Batch, spec: AttackSpec) -> list[PendingOutcomes]:
        return self._splitter.map_parts(len(batch), lambda rows: self._start_part(planned, batch.at(rows), spec))

    def _start_part(self, planned: PlannedClassifier, batch: Batch, spec: AttackSpec) -> PendingOutcomes:
        """Compute one gradient, the predictions at every budget, and the distances if they are measured."""
        attacked = attack_batch(planned.gradient_classifier, batch, spec, self._classes)
        distances = None if spec.max_epsilon is None else measure_distances(planned.gradient_classifier, attacked, spec.max_epsilon)
        if (guard := planned.guard) is None:
            outputs = [craft_and_run(planned.classifier, attacked, spec, epsilon)[1] for epsilon in spec.epsilons]
        else:
            outputs, decided_again, audit = predict_guarded(planned, guard, attacked, spec)
            self.decided_again, self.audit = self.decided_again + decided_again, self.audit + audit
        everything = (attacked.gradient_step.outputs, *outputs[:MAX_BUDGETS])
        margins = measure_margins(torch.stack(everything, 1)) if planned.keeps_margins else None
        return PendingOutcomes.start(attacked, [decide(planned.classifier, one) for one in outputs], distances, margins)


def predict_guarded(
    planned: PlannedClassifier, guard: RoundingGuard, attacked: AttackedBatch, spec: AttackSpec
) -> tuple[list[Tensor], int, AuditCounts]:
    """Predict at every budget under a guarded plan, and let the plain network predict the images of the audit again.

    Returns the outputs (N, K) at each budget, the number of images at risk of rounding at any budget, and the counts of the
    audit. An image differs if its plain prediction differs at a budget at which the image is not at risk.
    """
    audited = guard.draw_audit(attacked.batch.ids.numpy(), spec.seed).to(attacked.gradient_step.x.device)
    ever_at_risk, differs = torch.zeros_like(audited), torch.zeros_like(audited)
    after = []
    for epsilon in spec.epsilons:
        x_adv = attacked.gradient_step.perturb(epsilon)
        outputs, at_risk = planned.predict(x_adv)
        after.append(outputs)
        ever_at_risk |= at_risk
        if bool((checked := audited & ~at_risk).any()):
            found = decide(planned.classifier, outputs[checked])
            differs[checked] |= predict_classes(planned.plain_classifier, x_adv[checked]) != found
    return after, int(ever_at_risk.sum()), AuditCounts(int(audited.sum()), int(differs.sum()))


def is_asynchronous(device: torch.device) -> bool:
    """Return whether the device computes while the host prepares the next batch."""
    return device.type == "cuda"
