"""Outcomes on their way from the device to the counts of an attack."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.losses import LOGIT_LOSSES
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import AttackedBatch, empty_tally
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.audit import NO_AUDIT, AuditCounts
from robustbench_fgsm.stats.distance import DistanceCounts
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array, Tally

COUNTING_BLOCK_SIZE = 4096
"""Images that are counted at a time, because each call has a fixed cost."""

Part = TypeVar("Part", bound=Sized)


@dataclass(frozen=True)
class ObservedBatch:
    """N images and their outcomes."""

    batch: Batch
    outcomes: BatchOutcomes

    def __len__(self) -> int:
        return len(self.batch)

    def at(self, rows: Tensor) -> ObservedBatch:
        """Return some of the images; rows: (N,) bool, or indices."""
        return ObservedBatch(self.batch.at(rows), self.outcomes.at(rows.numpy()))

    @classmethod
    def concatenate(cls, parts: Sequence[ObservedBatch]) -> ObservedBatch:
        """Return the images of all parts, of which there is at least one."""
        if len(parts) == 1:
            return parts[0]
        outcomes = BatchOutcomes.concatenate([part.outcomes for part in parts])
        return cls(Batch.concatenate([part.batch for part in parts]), outcomes)


@dataclass(frozen=True)
class PendingOutcomes:
    """Outcomes of one batch, copied to the CPU asynchronously as one table. `wait()` blocks until the copy is done.

    The table has a row for each flag, and one for each label of a prediction, which is one row for predicted classes (N,).
    """

    batch: Batch
    table: Tensor
    targeted: bool
    distance_rows: int
    """Rows of distances, behind the predictions: 1, or 0 if they are not measured."""
    margin_rows: int
    """Rows of margins, the last ones, with the bits of float64 numbers; 0 if margins are not kept."""
    copy_done: torch.cuda.Event | None

    @classmethod
    def start(
        cls, attacked: AttackedBatch, after: Sequence[Tensor], distances: Tensor | None = None, margins: Tensor | None = None
    ) -> PendingOutcomes:
        """Start the copy.

        Args:
            attacked: the batch and its gradient step.
            after: predicted classes (N,) at each budget.
            distances: (N,) positions, or None if they are not measured.
            margins: (N, B, 2) float64, see `BatchOutcomes`, or None if they are not kept.
        """
        step = attacked.gradient_step
        flags = [step.zero_gradient, step.nonfinite_gradient, attacked.saturated]
        nothing = attacked.before.new_empty(len(attacked.batch), 0)
        last = [nothing if distances is None else distances, nothing if margins is None else margins.flatten(1).view(torch.int64)]
        columns = [*flags, attacked.before, attacked.labels_or_targets, *after, *last]
        rows = [column.long().reshape(len(attacked.batch), -1).T for column in columns]
        table, counts = torch.cat(rows), (len(rows[-2]), len(rows[-1]))
        if table.device.type != "cuda":
            return cls(attacked.batch, table.cpu(), attacked.targeted, *counts, None)
        on_cpu = torch.empty_like(table, device="cpu", pin_memory=True).copy_(table, non_blocking=True)
        copy_done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copy_done.record(torch.cuda.current_stream(table.device))
        return cls(attacked.batch, on_cpu, attacked.targeted, *counts, copy_done)

    def wait(self) -> ObservedBatch:
        """Return the outcomes when the copy is done."""
        if self.copy_done is not None:
            self.copy_done.synchronize()
        shape, n = self.batch.labels.shape, len(self.batch)
        end = len(self.table) - self.distance_rows - self.margin_rows
        zero_gradient, nonfinite_gradient, saturated = self.table[:3].numpy().astype(np.bool_)
        predictions = self.table[3:end].reshape(-1, shape[1:].numel(), n)
        before, labels_or_targets, *after = predictions.transpose(1, 2).numpy().reshape(-1, *shape)
        margins = self.table[end + self.distance_rows :].T.contiguous().numpy().view(np.float64)
        outcomes = BatchOutcomes(
            self.batch.ids.numpy(),
            self.batch.labels.numpy(),
            before,
            np.stack(after, 1),
            labels_or_targets if self.targeted else None,
            zero_gradient,
            nonfinite_gradient,
            saturated,
            distances=self.table[end].numpy() if self.distance_rows else None,
            margins=margins.reshape(n, -1, 2) if self.margin_rows else None,
        )
        return ObservedBatch(self.batch, outcomes)


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
    exact gradients. first_fooled: images by the first budget of the ascending grid that fools them. decided_again: images that
    the plain network predicted again at some budget. audit: images of the audit. distances: counts of distances; None if they are
    not measured. distances_stable: likewise, with exact gradients on saturated images.
    """

    tallies: tuple[Tally, ...]
    stable: tuple[Tally, ...]
    first_fooled: Int64Array
    decided_again: int = 0
    audit: AuditCounts = NO_AUDIT
    distances: DistanceCounts | None = None
    distances_stable: DistanceCounts | None = None


def replaces_counts(classifier: Classifier, spec: AttackSpec) -> bool:
    """Return whether saturated images are attacked a second time, along exact gradients.

    They are attacked beside other images then, which must not change their outputs.
    """
    if getattr(classifier, "uses_batch_statistics", False):
        return False
    return classifier.any_loss and spec.loss in LOGIT_LOSSES and not spec.stable


class OutcomeCounter:
    """Counter of the outcomes of one attack, in any order."""

    def __init__(self, classifier: Classifier, spec: AttackSpec) -> None:
        self._spec, self._num_classes, self._any_loss = spec, classifier.num_classes, classifier.any_loss
        self._buffer = OutcomeBuffer[BatchOutcomes](COUNTING_BLOCK_SIZE)
        nothing = (empty_tally(classifier, spec),) * len(spec.epsilons)
        none = None if spec.max_epsilon is None else DistanceCounts.empty(self._num_classes, spec.max_epsilon)
        first_fooled = np.zeros(len(spec.epsilons) + 1, np.int64)
        self._totals = AttackTotals(nothing, nothing, first_fooled, distances=none, distances_stable=none)

    def add(self, outcomes: BatchOutcomes) -> None:
        """Count the outcomes of these images."""
        self._count(self._buffer.add(outcomes))

    def add_decided_again(self, count: int, audit: AuditCounts) -> None:
        """Count so many images as decided again, and the images of an audit."""
        self._totals = replace(self._totals, decided_again=self._totals.decided_again + count, audit=self._totals.audit + audit)

    def fooled_so_far(self) -> tuple[int, int]:
        """Return the images fooled at the last budget and the attacked images, as far as they are counted yet."""
        rate = self._totals.tallies[-1].attack_success_rate
        return rate.count, rate.n

    def totals(self) -> AttackTotals:
        """Return the counts of all images that were added."""
        self._count(self._buffer.flush())
        return self._totals if self._any_loss else replace(self._totals, stable=(), distances_stable=None)

    def _count(self, parts: list[BatchOutcomes]) -> None:
        if not parts:
            return
        outcomes, totals = BatchOutcomes.concatenate(parts), self._totals
        found = self._tallies(outcomes)
        exact = outcomes.with_exact_gradients()
        stable = found if exact is outcomes else self._tallies(exact)
        self._totals = replace(
            totals,
            tallies=tuple(map(Tally.__add__, totals.tallies, found)),
            stable=tuple(map(Tally.__add__, totals.stable, stable)),
            first_fooled=totals.first_fooled + count_first_fooled(outcomes, self._spec.epsilons),
            distances=self._add_distances(totals.distances, outcomes),
            distances_stable=self._add_distances(totals.distances_stable, exact),
        )

    def _add_distances(self, total: DistanceCounts | None, outcomes: BatchOutcomes) -> DistanceCounts | None:
        return None if total is None else total + DistanceCounts.of(outcomes, self._num_classes, total.max_epsilon)

    def _tallies(self, outcomes: BatchOutcomes) -> list[Tally]:
        return [Tally.of(outcomes, self._num_classes, budget) for budget in range(len(self._spec.epsilons))]


def count_first_fooled(outcomes: BatchOutcomes, epsilons: Sequence[float]) -> Int64Array:
    """Return attacked images (E + 1,) by the first budget of the ascending grid that fools them; last, those never fooled."""
    outcomes = outcomes.whole_images()
    attacked = outcomes.attacked
    fooled = [outcomes.fooled(budget) for budget in np.argsort(epsilons, kind="stable")]
    hits = np.stack([*fooled, attacked])  # the last row catches all images that are never fooled
    return np.bincount(hits[:, attacked].argmax(0), minlength=len(hits))
