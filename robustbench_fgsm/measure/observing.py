"""Batches attacked one after the other under a plan, and what was seen of them counted.

Two kinds of images get a second look: under a guarded plan those that rest on rounding, in the plain layout; and saturated
ones, whose exact gradients are counted apart. They wait until they fill a batch, since small ones take longer an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.measure import guard
from robustbench_fgsm.measure.attacks import AttackedBatch, attack_batch, craft
from robustbench_fgsm.measure.plan import Execution
from robustbench_fgsm.measure.tally import Counts, Outcomes, Tally
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec

BLOCK = 4096
"""Images that are counted at a time: counting has a price for each call."""


@dataclass(frozen=True)
class Sighting:
    """What was seen of N images, all on the CPU.

    before: (N,) predicted classes; after: (N, E), at each budget. aim: (N,) labels or targets. zero, nonfinite, saturated:
    (N,) bool. unsure, narrow: (N,) bool, see `guard.Doubt`. direction: (N, ...) of the attack where there is doubt, else
    (N, 0).
    """

    batch: Batch
    before: Tensor
    after: Tensor
    aim: Tensor
    zero: Tensor
    nonfinite: Tensor
    saturated: Tensor
    unsure: Tensor
    narrow: Tensor
    direction: Tensor

    @classmethod
    def of(cls, attacked: AttackedBatch, after: Sequence[Tensor], doubt: guard.Doubt | None = None) -> Sighting:
        """Brought to the CPU at once, since each transfer waits for the device."""
        ascent, batch = attacked.ascent, attacked.batch
        nothing = torch.zeros_like(ascent.zero)
        unsure, narrow = (nothing, nothing) if doubt is None else (doubt.unsure, doubt.narrow)
        flags = [ascent.zero, ascent.nonfinite, attacked.saturated, unsure, narrow]
        facts = [predicted(ascent.outputs), attacked.aim, *flags]
        table = torch.stack([fact.long() for fact in (*facts, *after)]).cpu()
        zero, nonfinite, saturated, unsure, narrow = table[2 : len(facts)].bool()
        direction = torch.empty(len(batch), 0) if doubt is None else ascent.direction.cpu()
        return cls(
            batch, table[0], table[len(facts) :].T, table[1], zero, nonfinite, saturated, unsure, narrow, direction
        )

    def __len__(self) -> int:
        return len(self.batch)

    def at(self, rows: Tensor) -> Sighting:
        """Some of the images; rows: (N,) bool or indices."""
        parts = {name: getattr(self, name)[rows] for name in self.__dict__ if name != "batch"}
        return Sighting(batch=self.batch.at(rows), **parts)

    @classmethod
    def join(cls, parts: Sequence[Sighting]) -> Sighting:
        """All of them in one."""
        batch = Batch(
            torch.cat([part.batch.images for part in parts]),
            torch.cat([part.batch.labels for part in parts]),
            torch.cat([part.batch.ids for part in parts]),
        )
        names = [name for name in parts[0].__dict__ if name != "batch"]
        return cls(batch=batch, **{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def outcomes(self, *, targeted: bool) -> list[Outcomes]:
        """What became of each image, at each budget."""
        arrays = (self.batch.labels.numpy(), self.before.numpy())
        aim = self.aim.numpy() if targeted else None
        flags = self.zero.numpy(), self.nonfinite.numpy(), self.saturated.numpy()
        return [Outcomes(*arrays, after.contiguous().numpy(), aim, *flags) for after in self.after.T]


@dataclass(frozen=True)
class Totals:
    """Counts of one attack that add: a tally for each budget, twice, and where in the grid images are fooled first.

    stable: with exact gradients on saturated images; empty where the classifier has none. decided_again: images.
    """

    ordinary: tuple[Tally, ...]
    stable: tuple[Tally, ...]
    first_fooled: Counts
    decided_again: int = 0


class Queue:
    """Sightings that wait until they are `size` images together; images that nobody asks for are dropped on the way in."""

    def __init__(self, size: int, *, images: bool) -> None:
        self._size, self._images = size, images
        self._parts: list[Sighting] = []

    def add(self, part: Sighting) -> Sighting | None:
        """All that wait, with this part, where they have become enough."""
        if len(part):
            nothing = torch.empty(len(part), 0)
            bare = replace(part, batch=replace(part.batch, images=nothing), direction=nothing)
            self._parts.append(part if self._images else bare)
        return self.rest() if sum(map(len, self._parts)) >= self._size else None

    def rest(self) -> Sighting | None:
        """All that wait, if any."""
        parts, self._parts = self._parts, []
        return Sighting.join(parts) if parts else None


class Observer:
    """Counts what one attack does to batch after batch."""

    def __init__(self, execution: Execution, spec: AttackSpec, classes: tuple[str, ...]) -> None:
        self._execution, self._spec, self._classes = execution, spec, classes
        size = execution.plan.batch_size
        self._unsure, self._saturated = Queue(size, images=True), Queue(size, images=True)
        self._ordinary, self._stable = Queue(BLOCK, images=False), Queue(BLOCK, images=False)
        self._mended = execution.plain.any_loss and spec.loss == "ce" and not spec.stable
        targeted, count = spec.target.targeted, execution.plain.num_classes
        nothing = (Tally.empty(count, targeted=targeted),) * len(spec.epsilons)
        first = np.zeros(len(spec.epsilons) + 1, np.int64)
        self._totals = Totals(nothing, nothing, first)

    def see(self, batch: Batch) -> None:
        """Attack the batch; count what is settled of it, and let the rest wait."""
        guarded = self._execution.plan.guarded
        seen = look(self._execution.classifier, batch, self._spec, self._classes, guarded=guarded)
        if guarded and bool(seen.unsure.any()):
            waiting = self._unsure.add(seen.at(seen.unsure))
            seen = seen.at(~seen.unsure)
            self._decide(waiting)
        self._settle(seen)

    def totals(self) -> Totals:
        """The counts of all that was seen; nothing may be seen after that."""
        self._decide(self._unsure.rest())
        self._mend(self._saturated.rest())
        self._count(self._ordinary.rest(), stable=False)
        self._count(self._stable.rest(), stable=True)
        if not self._execution.plain.any_loss:
            return replace(self._totals, stable=())
        return self._totals if self._mended else replace(self._totals, stable=self._totals.ordinary)

    def _decide(self, waiting: Sighting | None) -> None:
        if waiting is not None:
            again = self._totals.decided_again + len(waiting)
            self._totals = replace(self._totals, decided_again=again)
            self._settle(decide_again(self._execution.plain, waiting, self._spec, self._classes))

    def _settle(self, seen: Sighting) -> None:
        self._count(self._ordinary.add(seen), stable=False)
        if not self._mended:
            return
        if not bool(seen.saturated.any()):
            self._count(self._stable.add(seen), stable=True)
            return
        self._count(self._stable.add(seen.at(~seen.saturated)), stable=True)
        self._mend(self._saturated.add(seen.at(seen.saturated)))

    def _mend(self, waiting: Sighting | None) -> None:
        """Attack saturated images along exact gradients; all else that was seen of them stands."""
        if waiting is not None:
            exact = replace(self._spec, stable=True)
            mended = look(self._execution.plain, waiting.batch, exact, self._classes)
            self._count(self._stable.add(replace(waiting, after=mended.after)), stable=True)

    def _count(self, seen: Sighting | None, *, stable: bool) -> None:
        if seen is None:
            return
        outcomes = seen.outcomes(targeted=self._spec.target.targeted)
        before = self._totals.stable if stable else self._totals.ordinary
        count = self._execution.plain.num_classes
        tallies = tuple(tally + Tally.of(found, count) for tally, found in zip(before, outcomes, strict=True))
        if stable:
            self._totals = replace(self._totals, stable=tallies)
            return
        first = self._totals.first_fooled + count_first_fooled(outcomes, self._spec.epsilons)
        self._totals = replace(self._totals, ordinary=tallies, first_fooled=first)


def look(
    classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...], *, guarded: bool = False
) -> Sighting:
    """One gradient, and the predictions at every budget; guarded: find the images that rest on rounding."""
    attacked = attack_batch(classifier, batch, spec, classes)
    if not guarded:
        after = [craft(classifier, attacked, spec, epsilon)[1] for epsilon in spec.epsilons]
        return Sighting.of(attacked, after)
    unsettled = guard.unsettled(attacked, spec)
    doubt, after = guard.Doubt(unsettled, unsettled), []
    for epsilon in spec.epsilons:
        outputs = classifier.predict(attacked.ascent.at(epsilon))
        doubt |= guard.doubt(attacked.ascent.outputs, outputs)
        after.append(predicted(outputs))
    return Sighting.of(attacked, after, doubt)


def decide_again(plain: Classifier, doubted: Sighting, spec: AttackSpec, classes: tuple[str, ...]) -> Sighting:
    """What the plain layout says of images that rest on rounding.

    All are given its gradient. Where that is the one they had, and their margins are not as narrow as rounding alone, it
    would say what has been said; only the others are predicted again.
    """
    attacked = attack_batch(plain, doubted.batch, spec, classes)
    direction = attacked.ascent.direction
    moved = ~guard.same_course(doubted.direction.to(direction.device), direction).cpu()
    seen = replace(Sighting.of(attacked, []), after=doubted.after)
    rows = (moved | doubted.narrow).nonzero().squeeze(1)
    if not len(rows):
        return seen
    some = attacked.at(rows)
    after = torch.stack([craft(plain, some, spec, epsilon)[1] for epsilon in spec.epsilons], 1)
    return replace(seen, after=seen.after.index_copy(0, rows, after.cpu()))


def count_first_fooled(outcomes: Sequence[Outcomes], epsilons: Sequence[float]) -> Counts:
    """Attacked images by the place in the ascending grid at which they are first fooled; last, those that never are."""
    ascending = [outcomes[index] for index in np.argsort(epsilons, kind="stable")]
    attacked = ascending[0].attacked
    hits = np.stack([found.fooled for found in ascending] + [attacked])  # the last row catches all that are left
    return np.bincount(hits[:, attacked].argmax(0), minlength=len(hits))
