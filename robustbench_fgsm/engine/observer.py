"""Batches attacked one after the other under a plan, and what was seen of them handed on once it is settled.

Two kinds of images get a second look: under a guarded plan those that rest on rounding, in the plain layout; and saturated
ones, whose exact gradients are counted apart. They wait until they fill a batch, since small ones take longer an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine import rounding_guard
from robustbench_fgsm.engine.attack_batch import attack_batch, craft, predict_classes
from robustbench_fgsm.engine.out_of_memory import Portions
from robustbench_fgsm.engine.outcomes import Flight, Queue, Sighting, mends
from robustbench_fgsm.engine.plan import Execution
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec


class Sink(Protocol):
    """Where what is settled of images goes."""

    def add(self, seen: Sighting, *, stable: bool) -> None:
        """These images; stable: once more, with exact gradients where they are saturated."""

    def add_decided_again(self, images: int) -> None:
        """So many were decided again."""


class Observer:
    """Sees what one attack does to batch after batch, and hands on what is settled of it."""

    def __init__(
        self, execution: Execution, spec: AttackSpec, classes: tuple[str, ...], sink: Sink, portions: Portions
    ) -> None:
        self._execution, self._spec, self._classes, self._sink = execution, spec, classes, sink
        self._portions = portions
        size = execution.plan.batch_size
        self._unsure, self._saturated = Queue(size, images=True), Queue(size, images=True)
        self._mended = mends(execution.plain, spec)
        self._aloft: list[Flight] = []
        self._lags = works_on_its_own(execution.plain.device)

    def see(self, batch: Batch) -> None:
        """Attack the batch; hand on what is settled of it, and let the rest wait.

        A GPU is given the next batch before what was seen of this one is looked at, so that it never waits.
        """
        before = self._aloft
        self._aloft = self._launch(self._execution.classifier, batch, self._spec, self._execution.plan.guarded)
        if not self._lags:
            before, self._aloft = self._aloft, []
        self._land(before)

    def settle(self) -> None:
        """Settle and hand on all that waits."""
        before, self._aloft = self._aloft, []
        self._land(before)
        self._decide(self._unsure.rest())
        self._mend(self._saturated.rest())

    def _land(self, flights: list[Flight]) -> None:
        if not flights:
            return
        seen = Sighting.join([flight.land() for flight in flights])
        unsure = seen.unsure.any(1)
        if bool(unsure.any()):
            waiting = self._unsure.add(seen.at(unsure))
            seen = seen.at(~unsure)
            self._decide(waiting)
        self._settle(seen)

    def _decide(self, waiting: Sighting | None) -> None:
        if waiting is not None:
            self._sink.add_decided_again(len(waiting))
            decided = self._portions.each(
                len(waiting),
                lambda rows: decide_again(self._execution.plain, waiting.at(rows), self._spec, self._classes),
            )
            self._settle(Sighting.join(decided))

    def _settle(self, seen: Sighting) -> None:
        seen = seen.settled()
        self._sink.add(seen, stable=False)
        if not self._mended:
            return
        if not bool(seen.saturated.any()):
            self._sink.add(seen, stable=True)
            return
        self._sink.add(seen.at(~seen.saturated), stable=True)
        self._mend(self._saturated.add(seen.at(seen.saturated)))

    def _mend(self, waiting: Sighting | None) -> None:
        """Attack saturated images along exact gradients; all else that was seen of them stands."""
        if waiting is not None:
            exact = replace(self._spec, stable=True)
            flights = self._launch(self._execution.plain, waiting.batch, exact, guarded=False)
            mended = Sighting.join([flight.land() for flight in flights])
            self._sink.add(replace(waiting, after=mended.after), stable=True)

    def _launch(self, classifier: Classifier, batch: Batch, spec: AttackSpec, guarded: bool) -> list[Flight]:
        return self._portions.each(
            len(batch), lambda rows: look(classifier, batch.at(rows), spec, self._classes, guarded=guarded)
        )


def works_on_its_own(device: torch.device) -> bool:
    """Whether the device works on what it was given while more is made ready."""
    return device.type == "cuda"


def observers(
    execution: Execution,
    specs: Sequence[AttackSpec],
    classes: tuple[str, ...],
    sinks: Sequence[Sink],
    portions: Portions,
) -> list[Observer]:
    """One for each attack, each with a sink of its own."""
    return [Observer(execution, spec, classes, sink, portions) for spec, sink in zip(specs, sinks, strict=True)]


def look(
    classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...], *, guarded: bool = False
) -> Flight:
    """One gradient, and the predictions at every budget; guarded: find the images that rest on rounding."""
    attacked = attack_batch(classifier, batch, spec, classes)
    if not guarded:
        after = [craft(classifier, attacked, spec, epsilon)[1] for epsilon in spec.epsilons]
        return Flight.of(attacked, after)
    unsettled = rounding_guard.unsettled(attacked, spec)
    doubts, after = [], []
    for epsilon in spec.epsilons:
        outputs = classifier.predict(attacked.ascent.at(epsilon))
        doubts.append(
            rounding_guard.doubt(attacked.ascent.outputs, outputs) | rounding_guard.Doubt(unsettled, unsettled)
        )
        after.append(predicted(outputs))
    return Flight.of(attacked, after, doubts)


def decide_again(plain: Classifier, doubted: Sighting, spec: AttackSpec, classes: tuple[str, ...]) -> Sighting:
    """What the plain layout says of images that rest on rounding.

    All are given its gradient. Where that is the one they had, and their margins are not as narrow as rounding alone, it
    would say what has been said; only the others are predicted again, at the budgets that are in doubt.
    """
    attacked = attack_batch(plain, doubted.batch, spec, classes)
    direction = attacked.ascent.direction
    moved = ~rounding_guard.same_course(doubted.direction.to(direction.device), direction).cpu()
    pairs = ((moved.unsqueeze(1) & doubted.unsure) | doubted.narrow).T.nonzero()
    after = doubted.after.clone()
    for low in range(0, len(pairs), len(doubted)):  # as many at a time as there was room for
        budgets, rows = pairs[low : low + len(doubted)].unbind(1)
        crafted = [
            attacked.at(rows[budgets == budget]).ascent.at(spec.epsilons[budget])
            for budget in sorted(set(budgets.tolist()))
        ]
        after[rows, budgets] = predict_classes(plain, torch.cat(crafted)).cpu()
    return replace(Sighting.of(attacked, []), after=after)
