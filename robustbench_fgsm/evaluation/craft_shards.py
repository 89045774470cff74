"""Craft adversarial images shard by shard, with the outcomes of each image. Memory does not grow with the data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.quantization import levels_to_pixels, round_to_levels
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, first_readable_batch, readable_batches
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict, predict_classes
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.plan import PLAIN_PLAN, Plan, PlannedClassifier, apply_plan
from robustbench_fgsm.engine.preflight import PREFLIGHT_IMAGES, check_images
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec, require_uniform_bounds
from robustbench_fgsm.stats.tally import BatchOutcomes, Int64Array, Tally

ShardColumns = dict[str, NDArray[Any]]

COLUMN_NAMES = {"before": "predictions_before", "after": "predictions_after"}
"""Columns whose name differs from the name in `BatchOutcomes`."""


@dataclass(frozen=True)
class ShardRecord:
    """Record of a shard: the outcomes of its images at one budget, and the effect of rounding to 8 bits.

    predictions_rounded: (N,) classes, or (N, K) labels, predicted after rounding; pixels_outside: (N,) pixels without a grid
    point in the ball.
    Both are None if nothing was rounded.
    """

    outcomes: BatchOutcomes
    predictions_rounded: Int64Array | None = None
    pixels_outside: Int64Array | None = None

    def __len__(self) -> int:
        return len(self.outcomes)

    def to_columns(self) -> ShardColumns:
        """Return the columns of the record that exist, by name."""
        columns = vars(self.outcomes) | {"after": self.outcomes.after[:, 0]}
        columns |= {"predictions_rounded": self.predictions_rounded, "pixels_outside": self.pixels_outside}
        return {COLUMN_NAMES.get(name, name): column for name, column in columns.items() if column is not None}

    @classmethod
    def from_columns(cls, columns: ShardColumns) -> ShardRecord:
        """Return the record that `to_columns` wrote; raise KeyError if a column is missing."""
        required = [field.name for field in fields(BatchOutcomes) if field.name != "targets" and field.default is MISSING]
        found: dict[str, Any] = {name: columns[COLUMN_NAMES.get(name, name)] for name in required}
        found["targets"] = columns.get("targets")
        outcomes = BatchOutcomes(**found | {"after": found["after"][:, np.newaxis]})
        return cls(outcomes, columns.get("predictions_rounded"), columns.get("pixels_outside"))


@dataclass(frozen=True)
class AdversarialShard:
    """Adversarial images (N, C, H, W) on the CPU, as float32 in pixel space or as rounded uint8 levels, and their record.

    `bad` are the unreadable samples of the shard.
    """

    images: Tensor
    record: ShardRecord
    bad: tuple[BadSample, ...] = ()


@dataclass(frozen=True)
class ShardTotals:
    """Counts that add over shards. The last four are about rounding to 8 bits; `rounded` is None without rounding."""

    unrounded: Tally
    rounded: Tally | None = None
    pixels: int = 0
    pixels_outside: int = 0
    predictions_changed: int = 0

    @classmethod
    def empty(cls, num_classes: int, *, targeted: bool, eight_bit: bool, multi_label: bool = False) -> ShardTotals:
        """Return totals without any image."""
        tally = Tally.empty(num_classes, targeted=targeted, multi_label=multi_label)
        return cls(tally, tally if eight_bit else None)

    @classmethod
    def of(cls, shard_record: ShardRecord, num_classes: int, pixels_per_image: int) -> ShardTotals:
        """Return the counts of one shard; each channel of a pixel counts."""
        unrounded = Tally.of(shard_record.outcomes, num_classes)
        if shard_record.predictions_rounded is None or shard_record.pixels_outside is None:
            return cls(unrounded)
        rounded = shard_record.predictions_rounded[:, np.newaxis]
        again = Tally.of(replace(shard_record.outcomes, after=rounded), num_classes)
        changed = int((rounded != shard_record.outcomes.after).reshape(len(shard_record), -1).any(1).sum())
        return cls(unrounded, again, pixels_per_image * len(shard_record), int(shard_record.pixels_outside.sum()), changed)

    def __add__(self, other: ShardTotals) -> ShardTotals:
        """Return the sum of two counts, which are both rounded or both not."""
        return ShardTotals(
            self.unrounded + other.unrounded,
            self.rounded + other.rounded if self.rounded is not None and other.rounded is not None else None,
            self.pixels + other.pixels,
            self.pixels_outside + other.pixels_outside,
            self.predictions_changed + other.predictions_changed,
        )


def shard_ranges(n: int, shard_size: int) -> list[range]:
    """Return the indices of the images of each shard; raise SettingError for a shard size below 1."""
    if shard_size < 1:
        raise SettingError(f"shard size must be a positive integer, got {shard_size}: try 1000")
    return [range(start, min(start + shard_size, n)) for start in range(0, n, shard_size)]


def check_eight_bit(data: Dataset, spec: AttackSpec) -> None:
    """Raise DataError or SettingError unless an 8-bit PNG can hold the images: 1 or 3 channels in [0, 1]."""
    shape = tuple(first_readable_batch(data, PREFLIGHT_IMAGES).images.shape[1:])
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(f"8-bit PNG needs images (C, H, W) of 1 or 3 channels, got {shape}: use --save-as safetensors or npz")
    low, high = require_uniform_bounds(spec.bounds, "8-bit PNG", "use --save-as safetensors or npz")
    if spec.epsilon_scale is not None:
        raise SettingError("8-bit PNG takes one epsilon for all channels, got an epsilon scale: use --save-as safetensors or npz")
    if not 0 <= low < high <= 1:
        raise SettingError(f"8-bit PNG needs images in [0, 1], got [{low:g}, {high:g}]: use --save-as safetensors or npz")


def craft_shards(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    ranges: Iterable[range],
    *,
    plan: Plan = PLAIN_PLAN,
    eight_bit: bool = False,
) -> Iterator[AdversarialShard]:
    """Yield the shards of some ranges of images at one budget, one after the other, without keeping an earlier shard.

    Each shard starts a new batch. A shard whose images are all unreadable is empty. With `eight_bit`, images are levels that are
    rounded within the ball.
    """
    planned, splitter = apply_plan(classifier, plan), BatchSplitter()
    for span in ranges:
        yield _craft_shard(planned, data, spec, span, splitter, eight_bit=eight_bit)


def _craft_shard(
    planned: PlannedClassifier, data: Dataset, spec: AttackSpec, span: range, splitter: BatchSplitter, *, eight_bit: bool
) -> AdversarialShard:
    def craft_rows(batch: Batch, rows: slice) -> AdversarialShard:
        return _craft_batch(planned, batch.at(rows), spec, data.classes, eight_bit=eight_bit)

    images, filled = torch.empty(0), 0
    parts: list[ShardColumns] = []
    bad: list[BadSample] = []
    for batch in readable_batches(data, span.start, span.stop, planned.plan.batch_size, bad):
        for part in splitter.map_parts(len(batch), partial(craft_rows, batch)):
            if not parts:  # once, so that no second copy is needed
                images = part.images.new_empty((len(span), *part.images.shape[1:]))
            images[filled : filled + len(part.record)] = part.images
            filled += len(part.record)
            parts.append(part.record.to_columns())
    if not parts:
        return _empty_shard(
            first_readable_batch(data, PREFLIGHT_IMAGES).images.shape[1:],
            tuple(bad),
            targeted=spec.target.targeted,
            eight_bit=eight_bit,
        )
    facts = ShardRecord.from_columns({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return AdversarialShard(images[:filled], facts, tuple(bad))


def _empty_shard(shape: torch.Size, bad: tuple[BadSample, ...], *, targeted: bool, eight_bit: bool) -> AdversarialShard:
    """Return a shard without any image."""
    none, flags = np.empty(0, np.int64), np.empty(0, np.bool_)
    outcomes = BatchOutcomes(none, none, none, none[:, np.newaxis], none if targeted else None, flags, flags, flags)
    rounded = none if eight_bit else None
    images = torch.empty((0, *shape), dtype=torch.uint8 if eight_bit else torch.float32)
    return AdversarialShard(images, ShardRecord(outcomes, rounded, rounded), bad)


def _craft_batch(
    planned: PlannedClassifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...], *, eight_bit: bool
) -> AdversarialShard:
    classifier = planned.classifier
    check_images(batch, classifier)
    (epsilon,) = spec.epsilons
    attacked = attack_batch(classifier, batch, spec, classes)
    x_adv, after = craft_and_predict(classifier, attacked, spec, epsilon)
    facts = ShardRecord(attacked.outcomes(after))
    if not eight_bit:
        return AdversarialShard(x_adv.cpu(), facts)
    rounded = round_to_levels(x_adv, attacked.gradient_step.x, epsilon, norm=spec.norm, bounds=spec.bounds)
    levels = rounded.levels.cpu()
    reread = levels_to_pixels(levels).to(classifier.device)  # divided on the CPU, as a loader does: CUDA's last bit may differ
    again = predict_classes(classifier, reread).cpu().numpy()
    return AdversarialShard(levels, replace(facts, predictions_rounded=again, pixels_outside=rounded.pixels_outside.cpu().numpy()))
