"""Images crafted on one model and shown to others: what became of each, piece by piece, and the counts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch, craft, predict_classes
from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.engine.out_of_memory import Portions
from robustbench_fgsm.engine.pieces import Integers, PieceRecord, Pieces, Seen
from robustbench_fgsm.engine.preflight import check_images
from robustbench_fgsm.engine.run_pieces import by_piece
from robustbench_fgsm.models.classifier import Classifier, place_images
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Counts


@dataclass(frozen=True)
class Crossing:
    """Who attacks whom. models: each once; sources, targets: their places among the models."""

    models: tuple[Classifier, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]

    def shown(self, source: int) -> tuple[int, ...]:
        """The models that a source's images are shown to: itself, then the targets."""
        return tuple(dict.fromkeys((source, *self.targets)))


@dataclass(frozen=True)
class CrossCounts:
    """Integers that add, the last axis by label: of M models, S sources, T targets, E budgets and K classes.

    images: (K,). clean: (M, K), right before. robust: (S, T, E, K), right after. both, fooled: (S, T, K) images that
    source and target had right (targeted: off target for both), and (S, T, E, K) those of them that are fooled. common,
    common_fooled: (S, K) and (S, T, E, K), likewise for all models. nonfinite, zero: (S,) images by their gradient.
    """

    images: Counts
    clean: Counts
    robust: Counts
    both: Counts
    fooled: Counts
    common: Counts
    common_fooled: Counts
    nonfinite: Counts
    zero: Counts

    @classmethod
    def empty(cls, crossing: Crossing, budgets: int) -> CrossCounts:
        """No images yet."""
        classes, models = crossing.models[0].num_classes, len(crossing.models)
        sources, targets = len(crossing.sources), len(crossing.targets)
        cells = (sources, targets, budgets, classes)
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

    def add(self, record: PieceRecord, crossing: Crossing) -> None:
        """Count one piece."""
        if not len(record):
            return
        labels, classes = record.labels.astype(np.int64), len(self.images)

        def by_label(some: NDArray[np.bool_]) -> Counts:
            return np.bincount(labels[some], minlength=classes)

        before, seen = self._unpacked(record, crossing)
        self.images[:] += np.bincount(labels, minlength=classes)
        for model, known in before.items():
            self.clean[model] += by_label(known == labels)
        for at, source in enumerate(crossing.sources):
            own = seen[source][source]
            fair = {model: _fair(own, labels, known) for model, known in before.items()}
            everywhere = np.logical_and.reduce(list(fair.values()))
            self.common[at] += by_label(everywhere)
            self.nonfinite[at] += int(own.nonfinite.sum())
            self.zero[at] += int(own.zero.sum())
            for to, target in enumerate(crossing.targets):
                both = fair[source] & fair[target]
                self.both[at, to] += by_label(both)
                for budget, after in enumerate(seen[source][target].after.T):
                    hit = after != labels if own.targets is None else after == own.targets
                    self.robust[at, to, budget] += by_label(after == labels)
                    self.fooled[at, to, budget] += by_label(hit & both)
                    self.common_fooled[at, to, budget] += by_label(hit & everywhere)

    @staticmethod
    def _unpacked(record: PieceRecord, crossing: Crossing) -> tuple[dict[int, Integers], dict[int, dict[int, Seen]]]:
        """Classes before by model, and what was seen by source and model."""
        attacks = iter(record.attacks)
        seen = {source: {model: next(attacks) for model in crossing.shown(source)} for source in crossing.sources}
        return {model: found.before for shown in seen.values() for model, found in shown.items()}, seen

    def summed(self, world: World) -> CrossCounts:
        """The counts of all processes, for all of them."""
        return CrossCounts(*(world.sum(getattr(self, field.name)) for field in fields(self)))


def _fair(own: Seen, labels: Counts, before: Integers) -> NDArray[np.bool_]:
    """Images that an attack can fool a model on that took them for `before`: right; targeted: off target."""
    if own.targets is None:
        return np.equal(before, labels)
    return np.not_equal(own.targets, labels) & np.not_equal(own.targets, before)


def cross_pieces(
    crossing: Crossing,
    data: Dataset,
    spec: AttackSpec,
    pieces: Pieces,
    batch_size: int,
    numbers: Counts,
    portions: Portions,
) -> Iterator[PieceRecord]:
    """These pieces, by ascending number, one each time that a record is asked for.

    Of each source, in order, what was seen of the images at itself and at every target.
    """
    for run in pieces.runs(numbers):
        began = time.perf_counter()
        for number, batches in by_piece(data, pieces, run, batch_size, crossing.models[0].device):
            yield _crossed(crossing, data.classes, spec, number, batches, portions, began)
            began = time.perf_counter()


def _crossed(
    crossing: Crossing,
    classes: tuple[str, ...],
    spec: AttackSpec,
    number: int,
    batches: Iterator[Batch],
    portions: Portions,
    began: float,
) -> PieceRecord:
    bad: list[BadSample] = []
    ids: list[Counts] = []
    labels: list[Counts] = []
    parts: list[list[Seen]] = []
    for batch in batches:
        bad += batch.bad
        if len(batch):
            check_images(batch, crossing.models[0])
            ids.append(batch.ids.numpy())
            labels.append(batch.labels.numpy())
            parts += portions.each(len(batch), partial(_look, crossing, classes, spec, batch))
    if not parts:
        nothing = np.empty(0, np.int64)
        return PieceRecord(number, nothing, nothing, (), tuple(bad), time.perf_counter() - began)
    seen = tuple(_joined(some) for some in zip(*parts, strict=True))
    return PieceRecord(
        number, np.concatenate(ids), np.concatenate(labels), seen, tuple(bad), time.perf_counter() - began
    )


def _look(crossing: Crossing, classes: tuple[str, ...], spec: AttackSpec, batch: Batch, rows: slice) -> list[Seen]:
    """One gradient for each source; its images at every budget shown to all."""
    some, found = batch.at(rows), []
    before = {
        model: predict_classes(crossing.models[model], place_images(some.images, crossing.models[model])).cpu().numpy()
        for model in {*crossing.targets} - {*crossing.sources}
    }
    for source in crossing.sources:
        classifier, shown = crossing.models[source], crossing.shown(source)
        attacked = attack_batch(classifier, some, spec, classes)
        before[source] = predicted(attacked.ascent.outputs).cpu().numpy()
        after: dict[int, list[Counts]] = {model: [] for model in shown}
        for epsilon in spec.epsilons:
            crafted, own = craft(classifier, attacked, spec, epsilon)
            for model in shown:
                target = crossing.models[model]
                answer = own if model == source else predict_classes(target, place_images(crafted, target))
                after[model].append(answer.cpu().numpy())
        found.append((attacked, after))
    return [_seen(attacked, before[model], answers) for attacked, after in found for model, answers in after.items()]


def _seen(attacked: AttackedBatch, before: Counts, after: Sequence[Counts]) -> Seen:
    outcomes = attacked.outcomes(*(2 * [attacked.aim]))  # only for what it says of the gradient and the targets
    return Seen(
        before,
        np.stack(after, 1),
        outcomes.targets,
        outcomes.zero_gradient,
        outcomes.nonfinite_gradient,
        outcomes.saturated,
        np.empty((0, len(after)), np.int64),
    )


def _joined(parts: Sequence[Seen]) -> Seen:
    first = parts[0]

    def whole(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    targets = None if first.targets is None else whole("targets")
    return Seen(
        whole("before"),
        whole("after"),
        targets,
        whole("zero"),
        whole("nonfinite"),
        whole("saturated"),
        whole("stable"),
    )
