"""Adversarial images, a shard at a time, with what became of each image: memory does not grow with the data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.attack.quantization import round_to_levels, to_pixels
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, probe, readable
from robustbench_fgsm.engine import rounding_guard
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch, craft, predict_classes
from robustbench_fgsm.engine.out_of_memory import Portions
from robustbench_fgsm.engine.plan import AS_IT_IS, Execution, Plan, execute
from robustbench_fgsm.engine.preflight import PROBE, check_images
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Counts, Outcomes, Tally

Columns = dict[str, NDArray[Any]]

NAMES = {"before": "predictions_before", "after": "predictions_after"}
"""What a column is called that outcomes call otherwise."""


@dataclass(frozen=True)
class Facts:
    """What is known of each image of a shard: all (N,).

    rounded: classes predicted after rounding to 8 bits; pixels_outside: pixels with no grid point in the ball. Both None
    where nothing was rounded.
    """

    ids: Counts
    outcomes: Outcomes
    rounded: Counts | None = None
    pixels_outside: Counts | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to_columns(self) -> Columns:
        """The facts that there are, by name."""
        columns = {"ids": self.ids} | {
            NAMES.get(field.name, field.name): getattr(self.outcomes, field.name) for field in fields(Outcomes)
        }
        columns |= {"predictions_rounded": self.rounded, "pixels_outside": self.pixels_outside}
        return {name: column for name, column in columns.items() if column is not None}

    @classmethod
    def from_columns(cls, columns: Columns) -> Facts:
        """The inverse of `to_columns`; raises KeyError for a column that is missing."""
        stored: dict[str, Any] = {"targets": None} | columns
        outcomes = Outcomes(**{field.name: stored[NAMES.get(field.name, field.name)] for field in fields(Outcomes)})
        return cls(columns["ids"], outcomes, columns.get("predictions_rounded"), columns.get("pixels_outside"))


@dataclass(frozen=True)
class Shard:
    """images: (N, C, H, W) on the CPU, adversarial float32 in pixel space, or uint8 levels where they were rounded.

    bad: samples that belong here and could not be had.
    """

    images: Tensor
    facts: Facts
    bad: tuple[BadSample, ...] = ()


@dataclass(frozen=True)
class Totals:
    """Counts that add over shards. The last four speak of rounding to 8 bits; rounded is None where nothing was rounded."""

    unrounded: Tally
    rounded: Tally | None = None
    pixels: int = 0
    pixels_outside: int = 0
    predictions_changed: int = 0

    @classmethod
    def empty(cls, num_classes: int, *, targeted: bool, eight_bit: bool) -> Totals:
        """No images yet."""
        tally = Tally.empty(num_classes, targeted=targeted)
        return cls(tally, tally if eight_bit else None)

    @classmethod
    def of(cls, facts: Facts, num_classes: int, pixels: int) -> Totals:
        """Count one shard; pixels: in one image, each channel for itself."""
        unrounded = Tally.of(facts.outcomes, num_classes)
        if facts.rounded is None or facts.pixels_outside is None:
            return cls(unrounded)
        again = Tally.of(replace(facts.outcomes, after=facts.rounded), num_classes)
        changed = int((facts.rounded != facts.outcomes.after).sum())
        return cls(unrounded, again, pixels * len(facts), int(facts.pixels_outside.sum()), changed)

    def __add__(self, other: Totals) -> Totals:
        """Counts of both, which are both rounded or both not."""
        return Totals(
            self.unrounded + other.unrounded,
            self.rounded + other.rounded if self.rounded is not None and other.rounded is not None else None,
            self.pixels + other.pixels,
            self.pixels_outside + other.pixels_outside,
            self.predictions_changed + other.predictions_changed,
        )


def spans(n: int, size: int) -> list[range]:
    """The images of each shard, by index: blocks of `size`, the last one shorter; raises SettingError for a size below 1."""
    if size < 1:
        raise SettingError(f"shard size must be a positive integer, got {size}: try 1000")
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def check_eight_bit(data: Dataset, spec: AttackSpec) -> None:
    """Raise DataError or SettingError where images are not such as an 8-bit PNG holds: 1 or 3 channels in [0, 1]."""
    channels = probe(data, PROBE).images.shape[1]
    if channels not in (1, 3):
        raise DataError(f"8-bit PNG needs images of 1 or 3 channels, got {channels}: use --format safetensors or npz")
    low, high = spec.bounds
    if not 0 <= low < high <= 1:
        raise SettingError(
            f"8-bit PNG needs images in [0, 1], got [{low:g}, {high:g}]: use --format safetensors or npz"
        )


def craft_shards(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    wanted: Iterable[range],
    *,
    plan: Plan = AS_IT_IS,
    eight_bit: bool = False,
) -> Iterator[Shard]:
    """The shards of these images, one after the other; spec has one budget. Batches begin anew with each shard.

    plan: how to run, and in what batches; by default the classifier runs as it is. eight_bit: give levels rounded within
    the ball instead of float32 images. A shard of which no image can be had is empty. Nothing is kept of one that was given.
    """
    execution, portions = execute(classifier, plan), Portions()
    for span in wanted:
        yield _craft_shard(execution, data, spec, span, portions, eight_bit=eight_bit)


def _craft_shard(
    execution: Execution, data: Dataset, spec: AttackSpec, span: range, portions: Portions, *, eight_bit: bool
) -> Shard:
    def craft_rows(batch: Batch, rows: slice) -> Shard:
        return _craft_batch(execution, batch.at(rows), spec, data.classes, eight_bit=eight_bit)

    images, filled = torch.empty(0), 0
    parts: list[Columns] = []
    bad: list[BadSample] = []
    for batch in readable(data, span.start, span.stop, execution.plan.batch_size, bad):
        for part in portions.each(len(batch), partial(craft_rows, batch)):
            if not parts:  # once, so that no second copy is needed
                images = part.images.new_empty((len(span), *part.images.shape[1:]))
            images[filled : filled + len(part.facts)] = part.images
            filled += len(part.facts)
            parts.append(part.facts.to_columns())
    if not parts:
        return _empty(
            probe(data, PROBE).images.shape[1:], tuple(bad), targeted=spec.target.targeted, eight_bit=eight_bit
        )
    facts = Facts.from_columns({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return Shard(images[:filled], facts, tuple(bad))


def _empty(shape: torch.Size, bad: tuple[BadSample, ...], *, targeted: bool, eight_bit: bool) -> Shard:
    """A shard without images."""
    none, flags = np.empty(0, np.int64), np.empty(0, np.bool_)
    outcomes = Outcomes(none, none, none, none if targeted else None, flags, flags, flags)
    rounded = none if eight_bit else None
    images = torch.empty((0, *shape), dtype=torch.uint8 if eight_bit else torch.float32)
    return Shard(images, Facts(none, outcomes, rounded, rounded), bad)


def _craft_batch(
    execution: Execution, batch: Batch, spec: AttackSpec, classes: tuple[str, ...], *, eight_bit: bool
) -> Shard:
    classifier = execution.classifier
    check_images(batch, classifier)
    (epsilon,) = spec.epsilons
    attacked = attack_batch(classifier, batch, spec, classes)
    if execution.plan.guarded:
        attacked, x_adv, after, _ = settle(execution, attacked, spec, classes)
    else:
        x_adv, after = craft(classifier, attacked, spec, epsilon)
    facts = Facts(batch.ids.numpy(), attacked.outcomes(predicted(attacked.ascent.outputs), after))
    if not eight_bit:
        return Shard(x_adv.cpu(), facts)
    rounded = round_to_levels(x_adv, attacked.ascent.x, epsilon, norm=spec.norm, bounds=spec.bounds)
    levels = rounded.levels.cpu()
    reread = to_pixels(levels).to(classifier.device)  # divided on the CPU, as a loader does: CUDA's last bit may differ
    again = predict_classes(classifier, reread).cpu().numpy()
    return Shard(levels, replace(facts, rounded=again, pixels_outside=rounded.outside.cpu().numpy()))


def settle(
    execution: Execution, attacked: AttackedBatch, spec: AttackSpec, classes: tuple[str, ...]
) -> tuple[AttackedBatch, Tensor, Tensor, int]:
    """An attack under a guarded plan with what rests on rounding done again in the plain layout, images and all.

    Returns the attack, the adversarial images at its one budget, their predicted classes (N,), and how many were done
    again. At once, unlike where images are only counted, since they are wanted in their order.
    """
    (epsilon,) = spec.epsilons
    x_adv = attacked.ascent.at(epsilon)
    outputs = execution.classifier.predict(x_adv)
    after = predicted(outputs)
    unsure = rounding_guard.unsettled(attacked, spec) | rounding_guard.doubt(attacked.ascent.outputs, outputs).unsure
    rows = unsure.nonzero().squeeze(1)
    if not len(rows):
        return attacked, x_adv, after, 0
    some = attack_batch(execution.plain, attacked.batch.at(rows.cpu()), spec, classes)
    again, other = craft(execution.plain, some, spec, epsilon)
    attacked = attacked.with_rows(rows, some)
    return attacked, x_adv.index_copy(0, rows, again), after.index_copy(0, rows, other), len(rows)
