"""Outcomes on their way from the device to the counts of an attack."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import AttackedBatch
from robustbench_fgsm.engine.rounding_guard import RoundingRisk
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array, Tally

COUNTING_BLOCK_SIZE = 4096
"""Images that are counted at a time, because each call has a fixed cost."""

Part = TypeVar("Part", bound=Sized)


@dataclass(frozen=True)
class ObservedBatch:
    """N images, their outcomes, and what the plain layout needs to decide uncertain images again.

    direction: (N, ...) of the attack, on its device. direction_risk, prediction_risk: (N, E) bool, see `RoundingRisk`. All
    three are (N, 0) if the plan has no guard.
    """

    batch: Batch
    outcomes: BatchOutcomes
    direction: Tensor
    direction_risk: Tensor
    prediction_risk: Tensor

    def __len__(self) -> int:
        return len(self.batch)

    def at(self, rows: Tensor | slice) -> ObservedBatch:
        """Return some of the images; rows: (N,) bool, indices, or a slice, which copies nothing."""
        outcomes = self.outcomes.at(rows if isinstance(rows, slice) else rows.numpy())
        risk = self.direction_risk[rows], self.prediction_risk[rows]
        return ObservedBatch(self.batch.at(rows), outcomes, self.direction[rows], *risk)

    @classmethod
    def concatenate(cls, parts: Sequence[ObservedBatch]) -> ObservedBatch:
        """Return the images of all parts, of which there is at least one."""
        if len(parts) == 1:
            return parts[0]
        batch, outcomes = (
            Batch.concatenate([part.batch for part in parts]),
            BatchOutcomes.concatenate([part.outcomes for part in parts]),
        )
        names = ("direction", "direction_risk", "prediction_risk")
        return cls(batch, outcomes, *(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def without_risks(self) -> ObservedBatch:
        """Return the images with no outcome in doubt, and without their direction."""
        nothing = torch.empty(len(self), 0)
        return replace(self, direction=nothing, direction_risk=nothing.bool(), prediction_risk=nothing.bool())


@dataclass(frozen=True)
class PendingOutcomes:
    """Outcomes of one batch, copied to the CPU asynchronously as one table. `wait()` blocks until the copy is done."""

    batch: Batch
    table: Tensor
    num_budgets: int
    targeted: bool
    direction: Tensor
    copy_done: torch.cuda.Event | None

    @classmethod
    def start(cls, attacked: AttackedBatch, after: Sequence[Tensor], risks: Sequence[RoundingRisk] = ()) -> PendingOutcomes:
        """Start the copy; after, risks: at each budget, the risks only under a guarded plan."""
        step, num_budgets = attacked.gradient_step, len(after)
        flags = [step.zero_gradient, step.nonfinite_gradient, attacked.saturated]
        at_risk = [*(risk.direction for risk in risks), *(risk.prediction for risk in risks)]
        rows = [predicted_classes(step.outputs), attacked.labels_or_targets, *flags, *after, *at_risk]
        table = torch.stack([row.long() for row in rows])
        direction = step.direction if risks else torch.empty(len(attacked.batch), 0)
        if table.device.type != "cuda":
            return cls(attacked.batch, table.cpu(), num_budgets, attacked.targeted, direction, None)
        on_cpu = torch.empty_like(table, device="cpu", pin_memory=True).copy_(table, non_blocking=True)
        copy_done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copy_done.record(torch.cuda.current_stream(table.device))
        return cls(attacked.batch, on_cpu, num_budgets, attacked.targeted, direction, copy_done)

    def wait(self) -> ObservedBatch:
        """Return the outcomes when the copy is done."""
        if self.copy_done is not None:
            self.copy_done.synchronize()
        before, labels_or_targets, *flags = self.table[:5].numpy()
        after, risks = self.table[5 : 5 + self.num_budgets].T, self.table[5 + self.num_budgets :].T.bool()
        outcomes = BatchOutcomes(
            self.batch.ids.numpy(),
            self.batch.labels.numpy(),
            before,
            after.numpy(),
            labels_or_targets if self.targeted else None,
            *(flag.astype(np.bool_) for flag in flags),
        )
        direction_risk, prediction_risk = risks[:, : self.num_budgets], risks[:, self.num_budgets :]
        return ObservedBatch(self.batch, outcomes, self.direction, direction_risk, prediction_risk)


class OutcomeBuffer(Generic[Part]):
    """Parts that wait until they hold `size` images together."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._parts: list[Part] = []

    def add(self, part: Part) -> list[Part]:
        """Return all waiting parts, with this one, if they are enough; else nothing."""
        if len(part):
            self._parts.append(part)
        return self.flush() if sum(map(len, self._parts)) >= self._size else []

    def flush(self) -> list[Part]:
        """Return all waiting parts, and empty the buffer."""
        parts, self._parts = self._parts, []
        return parts


@dataclass(frozen=True)
class AttackTotals:
    """Counts of one attack that add.

    tallies: one for each budget. stable: likewise, with exact gradients on saturated images; empty if the classifier has no
    exact gradients. first_fooled: images by the first budget of the ascending grid that fools them. decided_again: images.
    """

    tallies: tuple[Tally, ...]
    stable: tuple[Tally, ...]
    first_fooled: Int64Array
    decided_again: int = 0


def replaces_counts(classifier: Classifier, spec: AttackSpec) -> bool:
    """Return whether saturated images are attacked a second time, along exact gradients."""
    return classifier.any_loss and spec.loss == "ce" and not spec.stable


class OutcomeCounter:
    """Counter of the outcomes of one attack, in any order."""

    def __init__(self, classifier: Classifier, spec: AttackSpec) -> None:
        self._spec, self._num_classes, self._any_loss = spec, classifier.num_classes, classifier.any_loss
        self._buffer = OutcomeBuffer[BatchOutcomes](COUNTING_BLOCK_SIZE)
        nothing = (Tally.empty(self._num_classes, targeted=spec.target.targeted),) * len(spec.epsilons)
        self._totals = AttackTotals(nothing, nothing, np.zeros(len(spec.epsilons) + 1, np.int64))

    def add(self, outcomes: BatchOutcomes) -> None:
        """Count the outcomes of these images."""
        self._count(self._buffer.add(outcomes))

    def add_decided_again(self, count: int) -> None:
        """Count so many images as decided again."""
        self._totals = replace(self._totals, decided_again=self._totals.decided_again + count)

    def fooled_so_far(self) -> tuple[int, int]:
        """Return the images fooled at the last budget and the attacked images, as far as they are counted yet."""
        rate = self._totals.tallies[-1].attack_success_rate
        return rate.count, rate.n

    def totals(self) -> AttackTotals:
        """Return the counts of all images that were added."""
        self._count(self._buffer.flush())
        return self._totals if self._any_loss else replace(self._totals, stable=())

    def _count(self, parts: list[BatchOutcomes]) -> None:
        if not parts:
            return
        outcomes, totals = BatchOutcomes.concatenate(parts), self._totals
        found = self._tallies(outcomes)
        stable = found if outcomes.after_stable is None else self._tallies(outcomes.with_exact_gradients())
        self._totals = replace(
            totals,
            tallies=tuple(map(Tally.__add__, totals.tallies, found)),
            stable=tuple(map(Tally.__add__, totals.stable, stable)),
            first_fooled=totals.first_fooled + count_first_fooled(outcomes, self._spec.epsilons),
        )

    def _tallies(self, outcomes: BatchOutcomes) -> list[Tally]:
        return [Tally.of(outcomes, self._num_classes, budget) for budget in range(len(self._spec.epsilons))]


def count_first_fooled(outcomes: BatchOutcomes, epsilons: Sequence[float]) -> Int64Array:
    """Return attacked images (E + 1,) by the first budget of the ascending grid that fools them; last, those never fooled."""
    attacked = outcomes.attacked
    fooled = [outcomes.fooled(budget) for budget in np.argsort(epsilons, kind="stable")]
    hits = np.stack([*fooled, attacked])  # the last row catches all images that are never fooled
    return np.bincount(hits[:, attacked].argmax(0), minlength=len(hits))
