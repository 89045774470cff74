"""What was seen of attacked images, and the counts that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine import rounding_guard
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Counts, Outcomes, Tally

BLOCK = 4096
"""Images that are counted at a time: counting has a price for each call."""


@dataclass(frozen=True)
class Sighting:
    """What was seen of N images, all on the CPU but for the direction, which stays where it was taken.

    before: (N,) predicted classes; after: (N, E), at each budget. aim: (N,) labels or targets. zero, nonfinite, saturated:
    (N,) bool. unsure, narrow: (N, E) bool, see `guard.Doubt`; direction: (N, ...) of the attack; all three (N, 0) where
    nobody doubts.
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
    def of(cls, attacked: AttackedBatch, after: Sequence[Tensor]) -> Sighting:
        """At once, which waits for the device."""
        return Flight.of(attacked, after).land()

    def __len__(self) -> int:
        return len(self.batch)

    def at(self, rows: Tensor | slice) -> Sighting:
        """Some of the images; rows: (N,) bool, indices, or a slice, which copies nothing."""
        parts = {name: getattr(self, name)[rows] for name in self.__dict__ if name != "batch"}
        return Sighting(batch=self.batch.at(rows), **parts)

    @classmethod
    def join(cls, parts: Sequence[Sighting]) -> Sighting:
        """All of them in one."""
        if len(parts) == 1:
            return parts[0]
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

    def settled(self) -> Sighting:
        """The same, and nothing is in doubt any more."""
        nothing = torch.empty(len(self), 0)
        return replace(self, unsure=nothing.bool(), narrow=nothing.bool(), direction=nothing)

    def bare(self) -> Sighting:
        """The same without images."""
        return replace(self, batch=replace(self.batch, images=torch.empty(len(self), 0)))


@dataclass(frozen=True)
class Flight:
    """A sighting on its way to the CPU in one table (5 + E, N) or (5 + 3E, N), for which nobody waits before it lands."""

    batch: Batch
    table: Tensor
    budgets: int
    direction: Tensor
    arrived: torch.cuda.Event | None

    @classmethod
    def of(
        cls, attacked: AttackedBatch, after: Sequence[Tensor], doubts: Sequence[rounding_guard.Doubt] = ()
    ) -> Flight:
        """Take off. doubts: at each budget, under a guarded plan."""
        ascent, batch, budgets = attacked.ascent, attacked.batch, len(after)
        flags = [ascent.zero, ascent.nonfinite, attacked.saturated]
        doubted = [*(doubt.unsure for doubt in doubts), *(doubt.narrow for doubt in doubts)]
        facts = [predicted(ascent.outputs), attacked.aim, *flags, *after, *doubted]
        table = torch.stack([fact.long() for fact in facts])
        direction = ascent.direction if doubts else torch.empty(len(batch), 0)
        if table.device.type != "cuda":
            return cls(batch, table.cpu(), budgets, direction, None)
        here = torch.empty_like(table, device="cpu", pin_memory=True).copy_(table, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(torch.cuda.current_stream(table.device))
        return cls(batch, here, budgets, direction, arrived)

    def land(self) -> Sighting:
        """Wait until it has arrived."""
        if self.arrived is not None:
            self.arrived.synchronize()
        before, aim = self.table[:2]
        zero, nonfinite, saturated = self.table[2:5].bool()
        after, rest = self.table[5 : 5 + self.budgets].T, self.table[5 + self.budgets :].T.bool()
        unsure, narrow = rest[:, : self.budgets], rest[:, self.budgets :]
        return Sighting(self.batch, before, after, aim, zero, nonfinite, saturated, unsure, narrow, self.direction)


class Queue:
    """Sightings that wait until they are `size` images together; images that nobody asks for are dropped on the way in."""

    def __init__(self, size: int, *, images: bool) -> None:
        self._size, self._images = size, images
        self._parts: list[Sighting] = []

    def add(self, part: Sighting) -> Sighting | None:
        """All that wait, with this part, where they have become enough."""
        if len(part):
            self._parts.append(part if self._images else part.bare())
        return self.rest() if sum(map(len, self._parts)) >= self._size else None

    def rest(self) -> Sighting | None:
        """All that wait, if any."""
        parts, self._parts = self._parts, []
        return Sighting.join(parts) if parts else None


@dataclass(frozen=True)
class Totals:
    """Counts of one attack that add: a tally for each budget, twice, and where in the grid images are fooled first.

    stable: with exact gradients on saturated images; empty where the classifier has none. decided_again: images.
    """

    ordinary: tuple[Tally, ...]
    stable: tuple[Tally, ...]
    first_fooled: Counts
    decided_again: int = 0


def mends(classifier: Classifier, spec: AttackSpec) -> bool:
    """Whether saturated images are attacked a second time, along exact gradients."""
    return classifier.any_loss and spec.loss == "ce" and not spec.stable


class Counter:
    """Counts of one attack, from what was seen of images, in any order."""

    def __init__(self, classifier: Classifier, spec: AttackSpec) -> None:
        self._spec, self._count = spec, classifier.num_classes
        self._mended, self._any_loss = mends(classifier, spec), classifier.any_loss
        self._ordinary, self._stable = Queue(BLOCK, images=False), Queue(BLOCK, images=False)
        nothing = (Tally.empty(self._count, targeted=spec.target.targeted),) * len(spec.epsilons)
        self._totals = Totals(nothing, nothing, np.zeros(len(spec.epsilons) + 1, np.int64))

    def add(self, seen: Sighting, *, stable: bool) -> None:
        """Count these images; stable: among those with exact gradients where they are saturated."""
        self._add((self._stable if stable else self._ordinary).add(seen), stable=stable)

    def add_decided_again(self, images: int) -> None:
        """Count so many as decided again."""
        self._totals = replace(self._totals, decided_again=self._totals.decided_again + images)

    def fooled_so_far(self) -> tuple[int, int]:
        """Images fooled at the last budget, and images that could have been, as far as they are counted yet."""
        rate = self._totals.ordinary[-1].attack_success_rate
        return rate.count, rate.n

    def totals(self) -> Totals:
        """The counts of all that was added."""
        self._add(self._ordinary.rest(), stable=False)
        self._add(self._stable.rest(), stable=True)
        if not self._any_loss:
            return replace(self._totals, stable=())
        return self._totals if self._mended else replace(self._totals, stable=self._totals.ordinary)

    def _add(self, seen: Sighting | None, *, stable: bool) -> None:
        if seen is None:
            return
        outcomes = seen.outcomes(targeted=self._spec.target.targeted)
        before = self._totals.stable if stable else self._totals.ordinary
        tallies = tuple(tally + Tally.of(found, self._count) for tally, found in zip(before, outcomes, strict=True))
        if stable:
            self._totals = replace(self._totals, stable=tallies)
            return
        first = self._totals.first_fooled + count_first_fooled(outcomes, self._spec.epsilons)
        self._totals = replace(self._totals, ordinary=tallies, first_fooled=first)


def count_first_fooled(outcomes: Sequence[Outcomes], epsilons: Sequence[float]) -> Counts:
    """Attacked images by the place in the ascending grid at which they are first fooled; last, those that never are."""
    ascending = [outcomes[index] for index in np.argsort(epsilons, kind="stable")]
    attacked = ascending[0].attacked
    hits = np.stack([found.fooled for found in ascending] + [attacked])  # the last row catches all that are left
    return np.bincount(hits[:, attacked].argmax(0), minlength=len(hits))
