"""Images crafted on one model and shown to others: what became of each, piece by piece, and the counts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch, craft_and_predict, predict_classes
from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.pieces import IntArray, PieceOutcomes, PieceRecord, Pieces
from robustbench_fgsm.engine.preflight import check_images
from robustbench_fgsm.engine.run_pieces import batches_by_piece
from robustbench_fgsm.models.classifier import Classifier, move_to_classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Int64Array


@dataclass(frozen=True)
class TransferModels:
    """Who attacks whom. models: each once; sources, targets: their places among the models."""

    models: tuple[Classifier, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]

    def evaluated_on(self, source: int) -> tuple[int, ...]:
        """The models that a source's images are shown to: itself, then the targets."""
        return tuple(dict.fromkeys((source, *self.targets)))


@dataclass(frozen=True)
class TransferCounts:
    """Integers that add, the last axis by label: of M models, S sources, T targets, E budgets and K classes.

    images: (K,). clean: (M, K), right before. robust: (S, T, E, K), right after. both, fooled: (S, T, K) images that
    source and target had right (targeted: off target for both), and (S, T, E, K) those of them that are fooled. common,
    common_fooled: (S, K) and (S, T, E, K), likewise for all models. nonfinite, zero: (S,) images by their gradient.
    """

    images: Int64Array
    clean_correct: Int64Array
    robust_correct: Int64Array
    attacked: Int64Array
    fooled: Int64Array
    common_attacked: Int64Array
    common_fooled: Int64Array
    nonfinite_gradient: Int64Array
    zero_gradient: Int64Array

    @classmethod
    def empty(cls, transfer_models: TransferModels, num_budgets: int) -> TransferCounts:
        """No images yet."""
        classes, models = transfer_models.models[0].num_classes, len(transfer_models.models)
        sources, targets = len(transfer_models.sources), len(transfer_models.targets)
        cells = (sources, targets, num_budgets, classes)
        shapes: list[tuple[int, ...]] = [
            (classes,),
            (models, classes),
            cells,
            (sources, targets, classes),
            cells,
            (sources, classes),
            cells,
            (sources,),
            (sources,),
        ]
        return cls(*(np.zeros(shape, np.int64) for shape in shapes))

    def add(self, record: PieceRecord, transfer_models: TransferModels) -> None:
        """Count one piece."""
        if not len(record):
            return
        labels, classes = record.labels.astype(np.int64), len(self.images)

        def by_label(some: NDArray[np.bool_]) -> Int64Array:
            return np.bincount(labels[some], minlength=classes)

        before, seen = self._unpack(record, transfer_models)
        self.images[:] += np.bincount(labels, minlength=classes)
        for model, known in before.items():
            self.clean_correct[model] += by_label(known == labels)
        for at, source in enumerate(transfer_models.sources):
            own = seen[source][source]
            fair = {model: _attackable(own, labels, known) for model, known in before.items()}
            everywhere = np.logical_and.reduce(list(fair.values()))
            self.common_attacked[at] += by_label(everywhere)
            self.nonfinite_gradient[at] += int(own.nonfinite_gradient.sum())
            self.zero_gradient[at] += int(own.zero_gradient.sum())
            for to, target in enumerate(transfer_models.targets):
                both = fair[source] & fair[target]
                self.attacked[at, to] += by_label(both)
                for budget, after in enumerate(seen[source][target].after.T):
                    hit = after != labels if own.targets is None else after == own.targets
                    self.robust_correct[at, to, budget] += by_label(after == labels)
                    self.fooled[at, to, budget] += by_label(hit & both)
                    self.common_fooled[at, to, budget] += by_label(hit & everywhere)

    @staticmethod
    def _unpack(
        record: PieceRecord, transfer_models: TransferModels
    ) -> tuple[dict[int, IntArray], dict[int, dict[int, PieceOutcomes]]]:
        """Classes before by model, and what was seen by source and model."""
        attacks = iter(record.outcomes_per_attack)
        seen = {
            source: {model: next(attacks) for model in transfer_models.evaluated_on(source)} for source in transfer_models.sources
        }
        return {model: found.before for shown in seen.values() for model, found in shown.items()}, seen

    def sum_over_processes(self, world: World) -> TransferCounts:
        """The counts of all processes, for all of them."""
        return TransferCounts(*(world.sum(getattr(self, field.name)) for field in fields(self)))


def _attackable(own: PieceOutcomes, labels: Int64Array, before: IntArray) -> NDArray[np.bool_]:
    """Images that an attack can fool a model on that took them for `before`: right; targeted: off target."""
    if own.targets is None:
        return np.equal(before, labels)
    return np.not_equal(own.targets, labels) & np.not_equal(own.targets, before)


def attack_transfer_pieces(
    transfer_models: TransferModels,
    data: Dataset,
    spec: AttackSpec,
    pieces: Pieces,
    batch_size: int,
    piece_numbers: Int64Array,
    splitter: BatchSplitter,
) -> Iterator[PieceRecord]:
    """These pieces, by ascending number, one each time that a record is asked for.

    Of each source, in order, what was seen of the images at itself and at every target.
    """
    for run in pieces.consecutive_ranges(piece_numbers):
        began = time.perf_counter()
        for number, batches in batches_by_piece(data, pieces, run, batch_size, transfer_models.models[0].device):
            yield _attack_transfer_piece(transfer_models, data.classes, spec, number, batches, splitter, began)
            began = time.perf_counter()


def _attack_transfer_piece(
    transfer_models: TransferModels,
    classes: tuple[str, ...],
    spec: AttackSpec,
    number: int,
    batches: Iterator[Batch],
    splitter: BatchSplitter,
    began: float,
) -> PieceRecord:
    bad: list[BadSample] = []
    ids: list[Int64Array] = []
    labels: list[Int64Array] = []
    parts: list[list[PieceOutcomes]] = []
    for batch in batches:
        bad += batch.bad
        if len(batch):
            check_images(batch, transfer_models.models[0])
            ids.append(batch.ids.numpy())
            labels.append(batch.labels.numpy())
            parts += splitter.map_parts(len(batch), partial(_attack_transfer_batch, transfer_models, classes, spec, batch))
    if not parts:
        nothing = np.empty(0, np.int64)
        return PieceRecord(number, nothing, nothing, (), tuple(bad), time.perf_counter() - began)
    seen = tuple(_concatenate_pieces(some) for some in zip(*parts, strict=True))
    return PieceRecord(number, np.concatenate(ids), np.concatenate(labels), seen, tuple(bad), time.perf_counter() - began)


def _attack_transfer_batch(
    transfer_models: TransferModels, classes: tuple[str, ...], spec: AttackSpec, batch: Batch, rows: slice
) -> list[PieceOutcomes]:
    """One gradient for each source; its images at every budget shown to all."""
    some, found = batch.at(rows), []
    before = {
        model: predict_classes(transfer_models.models[model], move_to_classifier(some.images, transfer_models.models[model]))
        .cpu()
        .numpy()
        for model in {*transfer_models.targets} - {*transfer_models.sources}
    }
    for source in transfer_models.sources:
        classifier, shown = transfer_models.models[source], transfer_models.evaluated_on(source)
        attacked = attack_batch(classifier, some, spec, classes)
        before[source] = predicted_classes(attacked.gradient_step.outputs).cpu().numpy()
        after: dict[int, list[Int64Array]] = {model: [] for model in shown}
        for epsilon in spec.epsilons:
            crafted, own = craft_and_predict(classifier, attacked, spec, epsilon)
            for model in shown:
                target = transfer_models.models[model]
                answer = own if model == source else predict_classes(target, move_to_classifier(crafted, target))
                after[model].append(answer.cpu().numpy())
        found.append((attacked, after))
    return [_to_piece_outcomes(attacked, before[model], answers) for attacked, after in found for model, answers in after.items()]


def _to_piece_outcomes(attacked: AttackedBatch, before: Int64Array, after: Sequence[Int64Array]) -> PieceOutcomes:
    outcomes = attacked.outcomes(*(2 * [attacked.labels_or_targets]))  # only for what it says of the gradient and the targets
    return PieceOutcomes(
        before,
        np.stack(after, 1),
        outcomes.targets,
        outcomes.zero_gradient,
        outcomes.nonfinite_gradient,
        outcomes.saturated,
        np.empty((0, len(after)), np.int64),
    )


def _concatenate_pieces(parts: Sequence[PieceOutcomes]) -> PieceOutcomes:
    first = parts[0]

    def whole(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    targets = None if first.targets is None else whole("targets")
    return PieceOutcomes(
        whole("before"),
        whole("after"),
        targets,
        whole("zero_gradient"),
        whole("nonfinite_gradient"),
        whole("saturated"),
        whole("after_stable"),
    )
