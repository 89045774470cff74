"""Example images of a finished run: which the ledger picks, and both versions of each, made once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from robustbench_fgsm.data.dataset import Batch, Dataset, probe
from robustbench_fgsm.data.subset import RandomAccess
from robustbench_fgsm.engine.attack_batch import attack_batch, craft
from robustbench_fgsm.engine.out_of_memory import Portions
from robustbench_fgsm.engine.pieces import PieceRecord
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.runs.directory import replacing
from robustbench_fgsm.runs.ledger import Ledger
from robustbench_fgsm.runs.manifest import Run
from robustbench_fgsm.spec import AttackSpec

IMAGES = "images.safetensors"
EACH_CELL = 4
"""Images of one confusion cell: of one attack, label, and prediction after it."""

MOST = 500
MOST_BYTES = 2**28
"""Of all images kept: 500 of 28 x 28 take 3 MB, but of 224 x 224, in colour and both versions, 600 MB."""

LOOKED_AT = 100_000
"""Images of the ledger at most, from all over the data."""


@dataclass(frozen=True)
class KeptImages:
    """M images before and after an attack at its largest budget.

    clean, adversarial: (M, C, H, W) float32 in pixel space. ids, labels, attacks (index into the run's attacks),
    predictions_before, predictions_after: (M,) int64. confidences_before, confidences_after: (M,) float32, the share of
    the predicted class; epsilons: (M,) float64.
    """

    clean: Tensor
    adversarial: Tensor
    ids: Tensor
    labels: Tensor
    attacks: Tensor
    predictions_before: Tensor
    predictions_after: Tensor
    confidences_before: Tensor
    confidences_after: Tensor
    epsilons: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, rows: Tensor) -> KeptImages:
        """Some of them; rows: (M,) bool or indices."""
        return KeptImages(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[KeptImages]) -> KeptImages:
        """All of them in one."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Pick:
    """One image: the attack, by index, the image's place in the data and its id, and what the ledger says of it."""

    attack: int
    place: int
    id: int
    label: int
    before: int
    after: int


def keep_images(run: Run, ledger: Ledger, place: Path, most: int) -> None:
    """Write up to `most` example images there, whole or not at all; raises ResourceError where that cannot be.

    An image that the plain layout predicts otherwise than the ledger says, in its last bits, is left out.
    """
    size = probe(run.data, 1).images.nbytes * 2
    picks = choose(run, ledger, min(most, MOST_BYTES // size))
    parts = [
        made
        for number, spec in enumerate(run.specs)
        for made in _made(run, spec, [pick for pick in picks if pick.attack == number])
    ]
    if not parts:
        return
    kept = KeptImages.join(parts)
    with replacing(place) as scratch:
        scratch.write_bytes(save({field.name: getattr(kept, field.name).contiguous() for field in fields(kept)}))


def read_images(place: Path) -> KeptImages | None:
    """Images kept there; None where none are. Raises RunError for a file that is not such."""
    if not place.is_file():
        return None
    try:
        return KeptImages(**load_file(place))
    except (SafetensorError, TypeError) as error:
        raise RunError(f"{place} must hold images as rfgsm kept them, got {error}: delete it") from error


def choose(run: Run, ledger: Ledger, most: int) -> list[Pick]:
    """Up to four images of each confusion cell and `most` in all, from pieces all over the data; always the same ones.

    The first image of every cell comes before the second of any.
    """
    order = np.random.default_rng(0).permutation(len(run.pieces))
    cells: dict[tuple[int, int, int], list[Pick]] = {}
    seen = 0
    for record in ledger.at(order):
        for pick in _picks(run, record):
            cell = cells.setdefault((pick.attack, pick.label, pick.after), [])
            if len(cell) < EACH_CELL:
                cell.append(pick)
        seen += len(record)
        if seen >= LOOKED_AT:
            break
    rounds = [cell[turn] for turn in range(EACH_CELL) for cell in cells.values() if turn < len(cell)]
    return sorted(rounds[:most], key=lambda pick: (pick.attack, pick.place))


def _picks(run: Run, record: PieceRecord) -> Iterator[Pick]:
    """Images of a piece whose place in the data is known, which it is not beside bad ones."""
    if record.bad:
        return
    start = run.pieces.span(record.number).start
    for number, (spec, seen) in enumerate(zip(run.specs, record.attacks, strict=True)):
        after = seen.after[:, int(np.argmax(spec.epsilons))]
        for row, facts in enumerate(zip(record.ids, record.labels, seen.before, after, strict=True)):
            yield Pick(number, start + row, *map(int, facts))


def _made(run: Run, spec: AttackSpec, picks: Sequence[Pick]) -> Iterator[KeptImages]:
    portions, size = Portions(), run.plan.batch_size
    for low in range(0, len(picks), size):
        some = picks[low : low + size]
        batch = fetch(run.data, [pick.place for pick in some])
        parts = portions.each(len(batch), lambda rows, batch=batch: _shown(run, spec, batch.at(rows)))  # type: ignore[misc]
        made = KeptImages.join(parts)
        told = {pick.id: (pick.label, pick.before, pick.after) for pick in some}
        facts = zip(*(column.tolist() for column in _facts(made)), strict=True)
        same = [told.get(id_) == (label, before, after) for id_, label, before, after in facts]
        number = torch.full_like(made.ids, some[0].attack)
        yield KeptImages(**vars(made) | {"attacks": number}).at(torch.tensor(same))


def _facts(kept: KeptImages) -> tuple[Tensor, ...]:
    return kept.ids, kept.labels, kept.predictions_before, kept.predictions_after


def fetch(data: Dataset, places: Sequence[int]) -> Batch:
    """The images at these places; one by one where the data cannot give several."""
    if isinstance(data, RandomAccess):
        return next(data.take(places, len(places)))
    parts = [next(data.batches(place, place + 1, 1)) for place in places]
    images, labels, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels", "ids"))
    return Batch(images, labels, ids)


def _shown(run: Run, spec: AttackSpec, batch: Batch) -> KeptImages:
    """These images at the largest budget, in the plain layout."""
    classifier, epsilon = run.classifier, max(spec.epsilons)
    attacked = attack_batch(classifier, batch, spec, run.data.classes)
    x_adv, after = craft(classifier, attacked, spec, epsilon)
    before, sure_before = _confidence(attacked.ascent.outputs, spec)
    _, sure_after = _confidence(classifier.predict(x_adv), spec, after)
    count = len(batch)
    facts: dict[str, Any] = {
        "clean": batch.images,
        "adversarial": x_adv.cpu().contiguous(),
        "ids": batch.ids,
        "labels": batch.labels,
        "attacks": torch.zeros(count, dtype=torch.int64),
        "predictions_before": before,
        "predictions_after": after.cpu(),
        "confidences_before": sure_before,
        "confidences_after": sure_after,
        "epsilons": torch.full((count,), epsilon, dtype=torch.float64),
    }
    return KeptImages(**facts)


def _confidence(outputs: Tensor, spec: AttackSpec, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Predicted classes (N,), and the share of each, where the outputs (N, K) are logits or (log-)probabilities."""
    shares = outputs if spec.loss == "probabilities" else outputs.double().softmax(1)
    classes = outputs.argmax(1) if classes is None else classes
    return classes.cpu(), shares.gather(1, classes.unsqueeze(1)).squeeze(1).float().cpu()
