"""Example images of a finished run: selected by their recorded outcomes, and attacked again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.attack.losses import to_probabilities
from robustbench_fgsm.data.dataset import Batch, first_readable_batch
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.files.atomic_files import write_bytes
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.kept_images import ExampleImages
from robustbench_fgsm.runs.ledger import Ledger
from robustbench_fgsm.spec import AttackSpec

IMAGES_PER_CELL = 4
"""Images of one confusion cell: with one attack, label, and prediction after the attack."""

MAX_EXAMPLE_IMAGES = 500
MAX_EXAMPLE_BYTES = 2**28
"""Size of the file: 500 grey images of 28 x 28 take 3 MB, 500 colour images of 224 x 224 would take 600 MB."""

MAX_SCANNED_IMAGES = 100_000
"""Largest number of recorded images from which example images are selected."""


@dataclass(frozen=True)
class SelectedImage:
    """One image: the index of its attack, its index in the data, its id, and its outcomes in the ledger."""

    attack_index: int
    index: int
    id: int
    label: int
    prediction_before: int
    prediction_after: int


def save_example_images(run: EvaluationRun, candidates: Iterable[SelectedImage], path: Path, max_images: int) -> None:
    """Write up to `max_images` of the candidates atomically; raise ResourceError if that fails.

    An image is left out if its prediction in the plain layout differs from the recorded one.
    """
    size = first_readable_batch(run.data, 1).images.nbytes * 2
    picks = select_example_images(candidates, min(max_images, MAX_EXAMPLE_BYTES // size))
    parts = [
        made
        for number in range(len(run.specs))
        for made in _recreate_images(run, number, [pick for pick in picks if pick.attack_index == number])
    ]
    if not parts:
        return
    kept = _concatenate(parts)
    write_bytes(path, save({field.name: getattr(kept, field.name).contiguous() for field in fields(kept)}))


def _concatenate(parts: Sequence[ExampleImages[Tensor]]) -> ExampleImages[Tensor]:
    return ExampleImages(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(ExampleImages)))


def select_example_images(candidates: Iterable[SelectedImage], max_images: int) -> list[SelectedImage]:
    """Select up to four images of each confusion cell, and `max_images` in all.

    The first image of every cell is selected before the second image of any cell.
    """
    cells: dict[tuple[int, int, int], list[SelectedImage]] = {}
    for pick in islice(candidates, MAX_SCANNED_IMAGES):
        cell = cells.setdefault((pick.attack_index, pick.label, pick.prediction_after), [])
        if len(cell) < IMAGES_PER_CELL:
            cell.append(pick)
    rounds = [cell[turn] for turn in range(IMAGES_PER_CELL) for cell in cells.values() if turn < len(cell)]
    return sorted(rounds[:max_images], key=lambda pick: (pick.attack_index, pick.index))


def images_in_ledger(run: EvaluationRun, ledger: Ledger) -> Iterator[SelectedImage]:
    """Yield the images of pieces in a fixed random order; none of a piece with unreadable images, whose indices are unknown."""
    for record in ledger.select_records(np.random.default_rng(0).permutation(len(run.pieces))):
        start = run.pieces.span(record.number).start
        for number, (spec, outcomes) in enumerate(zip(run.specs, () if record.bad else record.outcomes, strict=not record.bad)):
            after = outcomes.after[:, int(np.argmax(spec.epsilons))]
            yield from selectable_images(number, start, record.ids, record.labels, outcomes.before, after)


def selectable_images(attack_index: int, start: int, *columns: Iterable[int]) -> Iterator[SelectedImage]:
    """Yield consecutive images, of which the first has index `start`; columns: ids, labels, predictions before and after."""
    for row, facts in enumerate(zip(*columns, strict=True)):
        if min(facts) >= 0:  # else there is no prediction to show
            yield SelectedImage(attack_index, start + row, *map(int, facts))


def _recreate_images(run: EvaluationRun, attack_index: int, selected: Sequence[SelectedImage]) -> Iterator[ExampleImages[Tensor]]:
    portions, size = BatchSplitter(), run.plan.batch_size
    for low in range(0, len(selected), size):
        some = selected[low : low + size]
        batch = next(Subset(run.data, [pick.index for pick in some]).batches(0, len(some), len(some)))
        parts = portions.map_parts(len(batch), lambda rows, batch=batch: _attack_images(run, attack_index, batch.at(rows)))  # type: ignore[misc]
        made = _concatenate(parts)
        recorded = {pick.id: (pick.label, pick.prediction_before, pick.prediction_after) for pick in some}
        columns = made.ids, made.labels, made.predictions_before, made.predictions_after
        facts = zip(*(column.tolist() for column in columns), strict=True)
        same = [recorded.get(id_) == (label, before, after) for id_, label, before, after in facts]
        yield made.select(torch.tensor(same))


def _attack_images(run: EvaluationRun, attack_index: int, batch: Batch) -> ExampleImages[Tensor]:
    """Attack images at the largest budget in the plain layout."""
    classifier, spec = run.classifier, run.specs[attack_index]
    epsilon = max(spec.epsilons)
    attacked = attack_batch(classifier, batch, spec, run.data.classes)
    x_adv, after = craft_and_predict(classifier, attacked, spec, epsilon)
    before, sure_before = _confidence(attacked.gradient_step.outputs, spec)
    _, sure_after = _confidence(classifier.predict(x_adv), spec, after)
    return ExampleImages(
        clean=batch.images,
        adversarial=x_adv.cpu().contiguous(),
        ids=batch.ids,
        labels=batch.labels,
        attacks=torch.full((len(batch),), attack_index),
        predictions_before=before,
        predictions_after=after.cpu(),
        confidences_before=sure_before,
        confidences_after=sure_after,
        epsilons=torch.full((len(batch),), epsilon, dtype=torch.float64),
    )


def _confidence(outputs: Tensor, spec: AttackSpec, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return classes (N,), by default the predicted ones, and their probabilities, from outputs (N, K)."""
    shares = to_probabilities(outputs, spec.loss)
    classes = predicted_classes(outputs) if classes is None else classes
    return classes.cpu(), shares.gather(1, classes.clamp_min(0).unsqueeze(1)).squeeze(1).float().cpu()
