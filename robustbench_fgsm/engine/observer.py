"""Batches attacked one after the other under a plan, and what was seen of them handed on once it is settled.

Two kinds of images get a second look: under a guarded plan those that rest on rounding, in the plain layout; and saturated
ones, whose exact gradients are counted apart. They wait until they fill a batch, since small ones take longer an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine import rounding_guard
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict, predict_classes
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.outcomes import BatchOutcomes, OutcomeBuffer, PendingOutcomes, replaces_counts
from robustbench_fgsm.engine.plan import PlannedClassifier
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec


class OutcomeSink(Protocol):
    """Where what is settled of images goes."""

    def add(self, outcomes: BatchOutcomes, *, stable: bool) -> None:
        """These images; stable: once more, with exact gradients where they are saturated."""

    def add_decided_again(self, count: int) -> None:
        """So many were decided again."""


class Observer:
    """Sees what one attack does to batch after batch, and hands on what is settled of it."""

    def __init__(
        self, planned: PlannedClassifier, spec: AttackSpec, classes: tuple[str, ...], sink: OutcomeSink, splitter: BatchSplitter
    ) -> None:
        self._planned, self._spec, self._classes, self._sink = planned, spec, classes, sink
        self._splitter = splitter
        size = planned.plan.batch_size
        self._at_risk_buffer, self._saturated_buffer = OutcomeBuffer(size, keep_images=True), OutcomeBuffer(size, keep_images=True)
        self._replaces_counts = replaces_counts(planned.plain_classifier, spec)
        self._pending: list[PendingOutcomes] = []
        self._asynchronous = is_asynchronous(planned.plain_classifier.device)

    def add(self, batch: Batch) -> None:
        """Attack the batch; hand on what is settled of it, and let the rest wait.

        A GPU is given the next batch before what was seen of this one is looked at, so that it never waits.
        """
        before = self._pending
        self._pending = self._start_attack(self._planned.classifier, batch, self._spec, self._planned.plan.guarded)
        if not self._asynchronous:
            before, self._pending = self._pending, []
        self._collect(before)

    def finish(self) -> None:
        """Settle and hand on all that waits."""
        before, self._pending = self._pending, []
        self._collect(before)
        self._decide_again(self._at_risk_buffer.flush())
        self._attack_saturated(self._saturated_buffer.flush())

    def _collect(self, pending: list[PendingOutcomes]) -> None:
        if not pending:
            return
        seen = BatchOutcomes.concatenate([flight.wait() for flight in pending])
        unsure = seen.direction_risk.any(1)
        if bool(unsure.any()):
            waiting = self._at_risk_buffer.add(seen.at(unsure))
            seen = seen.at(~unsure)
            self._decide_again(waiting)
        self._emit(seen)

    def _decide_again(self, waiting: BatchOutcomes | None) -> None:
        if waiting is not None:
            self._sink.add_decided_again(len(waiting))
            decided = self._splitter.map_parts(
                len(waiting),
                lambda rows: decide_again(self._planned.plain_classifier, waiting.at(rows), self._spec, self._classes),
            )
            self._emit(BatchOutcomes.concatenate(decided))

    def _emit(self, outcomes: BatchOutcomes) -> None:
        outcomes = outcomes.without_risks()
        self._sink.add(outcomes, stable=False)
        if not self._replaces_counts:
            return
        if not bool(outcomes.saturated.any()):
            self._sink.add(outcomes, stable=True)
            return
        self._sink.add(outcomes.at(~outcomes.saturated), stable=True)
        self._attack_saturated(self._saturated_buffer.add(outcomes.at(outcomes.saturated)))

    def _attack_saturated(self, waiting: BatchOutcomes | None) -> None:
        """Attack saturated images along exact gradients; all else that was seen of them stands."""
        if waiting is not None:
            exact = replace(self._spec, stable=True)
            flights = self._start_attack(self._planned.plain_classifier, waiting.batch, exact, guarded=False)
            mended = BatchOutcomes.concatenate([flight.wait() for flight in flights])
            self._sink.add(replace(waiting, after=mended.after), stable=True)

    def _start_attack(self, classifier: Classifier, batch: Batch, spec: AttackSpec, guarded: bool) -> list[PendingOutcomes]:
        return self._splitter.map_parts(
            len(batch), lambda rows: attack(classifier, batch.at(rows), spec, self._classes, guarded=guarded)
        )


def is_asynchronous(device: torch.device) -> bool:
    """Whether the device works on what it was given while more is made ready."""
    return device.type == "cuda"


def make_observers(
    planned: PlannedClassifier,
    specs: Sequence[AttackSpec],
    classes: tuple[str, ...],
    sinks: Sequence[OutcomeSink],
    splitter: BatchSplitter,
) -> list[Observer]:
    """One for each attack, each with a sink of its own."""
    return [Observer(planned, spec, classes, sink, splitter) for spec, sink in zip(specs, sinks, strict=True)]


def attack(
    classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...], *, guarded: bool = False
) -> PendingOutcomes:
    """One gradient, and the predictions at every budget; guarded: find the images that rest on rounding."""
    attacked = attack_batch(classifier, batch, spec, classes)
    if not guarded:
        after = [craft_and_predict(classifier, attacked, spec, epsilon)[1] for epsilon in spec.epsilons]
        return PendingOutcomes.start(attacked, after)
    unsettled = rounding_guard.clean_rounding_risk(attacked, spec)
    doubts, after = [], []
    for epsilon in spec.epsilons:
        outputs = classifier.predict(attacked.gradient_step.perturb(epsilon))
        doubts.append(
            rounding_guard.rounding_risk(attacked.gradient_step.outputs, outputs)
            | rounding_guard.RoundingRisk(unsettled, unsettled)
        )
        after.append(predicted_classes(outputs))
    return PendingOutcomes.start(attacked, after, doubts)


def decide_again(plain_classifier: Classifier, at_risk: BatchOutcomes, spec: AttackSpec, classes: tuple[str, ...]) -> BatchOutcomes:
    """What the plain layout says of images that rest on rounding.

    All are given its gradient. Where that is the one they had, and their margins are not as narrow as rounding alone, it
    would say what has been said; only the others are predicted again, at the budgets that are in doubt.
    """
    attacked = attack_batch(plain_classifier, at_risk.batch, spec, classes)
    direction = attacked.gradient_step.direction
    moved = ~rounding_guard.same_gradient(at_risk.direction.to(direction.device), direction).cpu()
    pairs = ((moved.unsqueeze(1) & at_risk.direction_risk) | at_risk.prediction_risk).T.nonzero()
    after = at_risk.after.clone()
    for low in range(0, len(pairs), len(at_risk)):  # as many at a time as there was room for
        budgets, rows = pairs[low : low + len(at_risk)].unbind(1)
        crafted = [
            attacked.at(rows[budgets == budget]).gradient_step.perturb(spec.epsilons[budget])
            for budget in sorted(set(budgets.tolist()))
        ]
        after[rows, budgets] = predict_classes(plain_classifier, torch.cat(crafted)).cpu()
    return replace(BatchOutcomes.of(attacked, []), after=after)
