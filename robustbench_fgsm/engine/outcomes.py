"""What was seen of attacked images, and the counts that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine import rounding_guard
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Int64Array, Outcomes, Tally

COUNTING_BLOCK_SIZE = 4096
"""Images that are counted at a time: counting has a price for each call."""


@dataclass(frozen=True)
class BatchOutcomes:
    """What was seen of N images, all on the CPU but for the direction, which stays where it was taken.

    before: (N,) predicted classes; after: (N, E), at each budget. aim: (N,) labels or targets. zero, nonfinite, saturated:
    (N,) bool. unsure, narrow: (N, E) bool, see `guard.Doubt`; direction: (N, ...) of the attack; all three (N, 0) where
    nobody doubts.
    """

    batch: Batch
    before: Tensor
    after: Tensor
    labels_or_targets: Tensor
    zero_gradient: Tensor
    nonfinite_gradient: Tensor
    saturated: Tensor
    direction_risk: Tensor
    prediction_risk: Tensor
    direction: Tensor

    @classmethod
    def of(cls, attacked: AttackedBatch, after: Sequence[Tensor]) -> BatchOutcomes:
        """At once, which waits for the device."""
        return PendingOutcomes.start(attacked, after).wait()

    def __len__(self) -> int:
        return len(self.batch)

    def at(self, rows: Tensor | slice) -> BatchOutcomes:
        """Some of the images; rows: (N,) bool, indices, or a slice, which copies nothing."""
        parts = {name: getattr(self, name)[rows] for name in self.__dict__ if name != "batch"}
        return BatchOutcomes(batch=self.batch.at(rows), **parts)

    @classmethod
    def concatenate(cls, parts: Sequence[BatchOutcomes]) -> BatchOutcomes:
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

    def outcomes_per_budget(self, *, targeted: bool) -> list[Outcomes]:
        """What became of each image, at each budget."""
        arrays = (self.batch.labels.numpy(), self.before.numpy())
        aim = self.labels_or_targets.numpy() if targeted else None
        flags = self.zero_gradient.numpy(), self.nonfinite_gradient.numpy(), self.saturated.numpy()
        return [Outcomes(*arrays, after.contiguous().numpy(), aim, *flags) for after in self.after.T]

    def without_risks(self) -> BatchOutcomes:
        """The same, and nothing is in doubt any more."""
        nothing = torch.empty(len(self), 0)
        return replace(self, direction_risk=nothing.bool(), prediction_risk=nothing.bool(), direction=nothing)

    def without_images(self) -> BatchOutcomes:
        """The same without images."""
        return replace(self, batch=replace(self.batch, images=torch.empty(len(self), 0)))


@dataclass(frozen=True)
class PendingOutcomes:
    """A sighting on its way to the CPU in one table (5 + E, N) or (5 + 3E, N), for which nobody waits before it lands."""

    batch: Batch
    table: Tensor
    num_budgets: int
    direction: Tensor
    copy_done: torch.cuda.Event | None

    @classmethod
    def start(
        cls, attacked: AttackedBatch, after: Sequence[Tensor], risks: Sequence[rounding_guard.RoundingRisk] = ()
    ) -> PendingOutcomes:
        """Take off. doubts: at each budget, under a guarded plan."""
        ascent, batch, budgets = attacked.gradient_step, attacked.batch, len(after)
        flags = [ascent.zero_gradient, ascent.nonfinite_gradient, attacked.saturated]
        doubted = [*(doubt.direction for doubt in risks), *(doubt.prediction for doubt in risks)]
        facts = [predicted_classes(ascent.outputs), attacked.labels_or_targets, *flags, *after, *doubted]
        table = torch.stack([fact.long() for fact in facts])
        direction = ascent.direction if risks else torch.empty(len(batch), 0)
        if table.device.type != "cuda":
            return cls(batch, table.cpu(), budgets, direction, None)
        here = torch.empty_like(table, device="cpu", pin_memory=True).copy_(table, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(torch.cuda.current_stream(table.device))
        return cls(batch, here, budgets, direction, arrived)

    def wait(self) -> BatchOutcomes:
        """Wait until it has arrived."""
        if self.copy_done is not None:
            self.copy_done.synchronize()
        before, aim = self.table[:2]
        zero, nonfinite, saturated = self.table[2:5].bool()
        after, rest = self.table[5 : 5 + self.num_budgets].T, self.table[5 + self.num_budgets :].T.bool()
        unsure, narrow = rest[:, : self.num_budgets], rest[:, self.num_budgets :]
        return BatchOutcomes(self.batch, before, after, aim, zero, nonfinite, saturated, unsure, narrow, self.direction)


class OutcomeBuffer:
    """Sightings that wait until they are `size` images together; images that nobody asks for are dropped on the way in."""

    def __init__(self, size: int, *, keep_images: bool) -> None:
        self._size, self._keep_images = size, keep_images
        self._parts: list[BatchOutcomes] = []

    def add(self, part: BatchOutcomes) -> BatchOutcomes | None:
        """All that wait, with this part, where they have become enough."""
        if len(part):
            self._parts.append(part if self._keep_images else part.without_images())
        return self.flush() if sum(map(len, self._parts)) >= self._size else None

    def flush(self) -> BatchOutcomes | None:
        """All that wait, if any."""
        parts, self._parts = self._parts, []
        return BatchOutcomes.concatenate(parts) if parts else None


@dataclass(frozen=True)
class AttackTotals:
    """Counts of one attack that add: a tally for each budget, twice, and where in the grid images are fooled first.

    stable: with exact gradients on saturated images; empty where the classifier has none. decided_again: images.
    """

    tallies: tuple[Tally, ...]
    stable: tuple[Tally, ...]
    first_fooled: Int64Array
    decided_again: int = 0


def replaces_counts(classifier: Classifier, spec: AttackSpec) -> bool:
    """Whether saturated images are attacked a second time, along exact gradients."""
    return classifier.any_loss and spec.loss == "ce" and not spec.stable


class OutcomeCounter:
    """Counts of one attack, from what was seen of images, in any order."""

    def __init__(self, classifier: Classifier, spec: AttackSpec) -> None:
        self._spec, self._num_classes = spec, classifier.num_classes
        self._replaces_counts, self._any_loss = replaces_counts(classifier, spec), classifier.any_loss
        self._ordinary_buffer, self._stable_buffer = (
            OutcomeBuffer(COUNTING_BLOCK_SIZE, keep_images=False),
            OutcomeBuffer(COUNTING_BLOCK_SIZE, keep_images=False),
        )
        nothing = (Tally.empty(self._num_classes, targeted=spec.target.targeted),) * len(spec.epsilons)
        self._totals = AttackTotals(nothing, nothing, np.zeros(len(spec.epsilons) + 1, np.int64))

    def add(self, outcomes: BatchOutcomes, *, stable: bool) -> None:
        """Count these images; stable: among those with exact gradients where they are saturated."""
        self._count_outcomes((self._stable_buffer if stable else self._ordinary_buffer).add(outcomes), stable=stable)

    def add_decided_again(self, count: int) -> None:
        """Count so many as decided again."""
        self._totals = replace(self._totals, decided_again=self._totals.decided_again + count)

    def fooled_so_far(self) -> tuple[int, int]:
        """Images fooled at the last budget, and images that could have been, as far as they are counted yet."""
        rate = self._totals.tallies[-1].attack_success_rate
        return rate.count, rate.n

    def totals(self) -> AttackTotals:
        """The counts of all that was added."""
        self._count_outcomes(self._ordinary_buffer.flush(), stable=False)
        self._count_outcomes(self._stable_buffer.flush(), stable=True)
        if not self._any_loss:
            return replace(self._totals, stable=())
        return self._totals if self._replaces_counts else replace(self._totals, stable=self._totals.tallies)

    def _count_outcomes(self, batch_outcomes: BatchOutcomes | None, *, stable: bool) -> None:
        if batch_outcomes is None:
            return
        outcomes = batch_outcomes.outcomes_per_budget(targeted=self._spec.target.targeted)
        before = self._totals.stable if stable else self._totals.tallies
        tallies = tuple(tally + Tally.of(found, self._num_classes) for tally, found in zip(before, outcomes, strict=True))
        if stable:
            self._totals = replace(self._totals, stable=tallies)
            return
        first = self._totals.first_fooled + count_first_fooled(outcomes, self._spec.epsilons)
        self._totals = replace(self._totals, tallies=tallies, first_fooled=first)


def count_first_fooled(outcomes: Sequence[Outcomes], epsilons: Sequence[float]) -> Int64Array:
    """Attacked images by the place in the ascending grid at which they are first fooled; last, those that never are."""
    ascending = [outcomes[index] for index in np.argsort(epsilons, kind="stable")]
    attacked = ascending[0].attacked
    hits = np.stack([found.fooled for found in ascending] + [attacked])  # the last row catches all that are left
    return np.bincount(hits[:, attacked].argmax(0), minlength=len(hits))
