"""Craft images on source models, predict them by target models, and count the outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict, predict_classes
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.preflight import check_images
from robustbench_fgsm.evaluation.transfer_pairs import evaluated_models
from robustbench_fgsm.models.classifier import Classifier, move_to_classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes, BoolArray, Int64Array


@dataclass(frozen=True)
class TransferModels:
    """Models of a transfer, each once; sources, targets: their indices among the models."""

    models: tuple[Classifier, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]

    def evaluated_on(self, source: int) -> tuple[int, ...]:
        """Return the models that predict a source's images: the source itself, then the targets."""
        return evaluated_models(source, self.targets)


@dataclass(frozen=True)
class TransferCounts:
    """Counts of M models, S sources, T targets, E budgets and K classes; they add, and their last axis is the label.

    images: (K,). clean_correct: (M, K), right before. robust_correct: (S, T, E, K), right after. attacked: (S, T, K), right
    before at source and target; targeted: off target for both. fooled: (S, T, E, K), of the attacked images. common_attacked,
    common_fooled: (S, K) and (S, T, E, K), likewise for all models. nonfinite_gradient, zero_gradient: (S,) images.
    nonfinite_before, nonfinite_after: (M,) and (S, T, E) images whose outputs are not finite.
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
    nonfinite_before: Int64Array
    nonfinite_after: Int64Array

    @classmethod
    def empty(cls, transfer_models: TransferModels, num_budgets: int) -> TransferCounts:
        """Return counts without any image."""
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
            (models,),
            (sources, targets, num_budgets),
        ]
        return cls(*(np.zeros(shape, np.int64) for shape in shapes))

    def add(self, record: PieceRecord, transfer_models: TransferModels) -> None:
        """Add the counts of one piece."""
        if not len(record):
            return
        labels, num_classes = record.labels, len(self.images)

        def by_label(images: BoolArray) -> Int64Array:
            return np.bincount(labels[images], minlength=num_classes)

        remaining = iter(record.outcomes)
        outcomes = {
            source: {model: next(remaining) for model in transfer_models.evaluated_on(source)} for source in transfer_models.sources
        }
        before = {model: found.before for by_model in outcomes.values() for model, found in by_model.items()}
        self.images[:] += np.bincount(labels, minlength=num_classes)
        for model, predictions in before.items():
            self.clean_correct[model] += by_label(predictions == labels)
            self.nonfinite_before[model] += int((predictions < 0).sum())
        for at, source in enumerate(transfer_models.sources):
            own = outcomes[source][source]
            attacked = {model: replace(own, before=predictions).attacked for model, predictions in before.items()}
            common = np.logical_and.reduce(list(attacked.values()))
            self.common_attacked[at] += by_label(common)
            self.nonfinite_gradient[at] += int(own.nonfinite_gradient.sum())
            self.zero_gradient[at] += int(own.zero_gradient.sum())
            for to, target in enumerate(transfer_models.targets):
                both = attacked[source] & attacked[target]
                self.attacked[at, to] += by_label(both)
                at_target = outcomes[source][target]
                for budget, after in enumerate(at_target.after.T):
                    hit = at_target.misses(budget) if own.targets is None else at_target.hits(budget)
                    self.nonfinite_after[at, to, budget] += int((after < 0).sum())
                    self.robust_correct[at, to, budget] += by_label(after == labels)
                    self.fooled[at, to, budget] += by_label(hit & both)
                    self.common_fooled[at, to, budget] += by_label(hit & common)

    def sum_over_processes(self, world: World) -> TransferCounts:
        """Return in every process the counts summed over all processes."""
        return TransferCounts(*(world.sum(getattr(self, field.name)) for field in fields(self)))


def attack_transfer_piece(
    transfer_models: TransferModels, classes: tuple[str, ...], spec: AttackSpec, batches: Iterator[Batch], splitter: BatchSplitter
) -> tuple[BatchOutcomes, ...]:
    """Return for each source, in order, the outcomes of its images at itself and at every target; none without images."""
    parts: list[list[BatchOutcomes]] = []
    for batch in batches:
        check_images(batch, transfer_models.models[0])
        parts += splitter.map_parts(len(batch), partial(_attack_transfer_batch, transfer_models, classes, spec, batch))
    return tuple(BatchOutcomes.concatenate(part) for part in zip(*parts, strict=True))


def _attack_transfer_batch(
    transfer_models: TransferModels, classes: tuple[str, ...], spec: AttackSpec, batch: Batch, rows: slice
) -> list[BatchOutcomes]:
    """Compute one gradient for each source, and predict its images at every budget with all models."""
    images, found, models = batch.at(rows), [], transfer_models.models
    before = {
        model: predict_classes(models[model], move_to_classifier(images.images, models[model]))
        for model in {*transfer_models.targets} - {*transfer_models.sources}
    }
    for source in transfer_models.sources:
        attacked = attack_batch(models[source], images, spec, classes)
        before[source] = predicted_classes(attacked.gradient_step.outputs)
        after: dict[int, list[Tensor]] = {model: [] for model in transfer_models.evaluated_on(source)}
        for epsilon in spec.epsilons:
            crafted, own = craft_and_predict(models[source], attacked, spec, epsilon)
            for model, predictions in after.items():
                target = models[model]
                predictions.append(own if model == source else predict_classes(target, move_to_classifier(crafted, target)))
        found.append((attacked, after))
    return [
        attacked.outcomes(torch.stack(predictions, 1), before[model])
        for attacked, after in found
        for model, predictions in after.items()
    ]
