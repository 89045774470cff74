"""Shards of adversarial images: what is in them, and that one is held at a time."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.evaluation.craft_shards import (
    AdversarialShard,
    ShardRecord,
    ShardTotals,
    check_eight_bit,
    craft_shards,
    shard_ranges,
)
from robustbench_fgsm.spec import AttackSpec, Bounds, TargetRule


def test_spans_cover_every_image() -> None:
    assert shard_ranges(7, 3) == [range(3), range(3, 6), range(6, 7)]
    assert shard_ranges(6, 3) == [range(3), range(3, 6)]
    assert shard_ranges(2, 1000) == [range(2)]
    with pytest.raises(rf.SettingError, match="shard size must be a positive integer, got 0"):
        shard_ranges(2, 0)


def test_shards_match_the_attack(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    shards = list(craft_shards(classifier, images, AttackSpec(), shard_ranges(100, 40), plan=Plan(batch_size=16)))
    batch = next(images.batches(0, 100, 100))
    x_adv = torch.cat([shard.images for shard in shards])
    expected = rf.fgsm(classifier, batch.images, batch.labels, 8 / 255)
    assert [len(shard.record) for shard in shards] == [40, 40, 20]
    assert (x_adv - expected).abs().gt(1e-6).float().mean() < 1e-3  # other batches, so a few signs may differ
    outcomes = [shard.record.outcomes for shard in shards]
    np.testing.assert_array_equal(np.concatenate([shard.record.outcomes.ids for shard in shards]), np.arange(100))
    np.testing.assert_array_equal(np.concatenate([found.labels for found in outcomes]), batch.labels)
    after = np.concatenate([found.after[:, 0] for found in outcomes])
    np.testing.assert_array_equal(after, classifier.predict(x_adv).argmax(1))


@pytest.mark.parametrize("target", ["none", "least-likely", "random"])
def test_sizes_change_no_prediction(classifier: rf.TorchClassifier, images: rf.ArrayDataset, target: str) -> None:
    spec = AttackSpec(target=TargetRule.parse(target), restarts=1)

    def columns(shard_size: int, batch_size: int) -> dict[str, list[int]]:
        shards = craft_shards(
            classifier, images, spec, shard_ranges(60, shard_size), plan=Plan(batch_size=batch_size), eight_bit=True
        )
        parts = [shard.record.to_columns() for shard in shards]
        return {name: np.concatenate([part[name] for part in parts]).tolist() for name in parts[0]}

    assert columns(60, 60) == columns(17, 5)


def test_one_shard_is_alive(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    shards = craft_shards(classifier, images, AttackSpec(), shard_ranges(64, 16), plan=Plan(batch_size=8))

    def alive() -> int:
        gc.collect()
        return sum(type(found) is AdversarialShard for found in gc.get_objects())

    before = alive()
    for _ in range(4):
        assert len(next(shards).record) == 16
        assert alive() == before


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("eight_bit", [True, False])
def test_columns_give_the_record_again(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: bool, eight_bit: bool
) -> None:
    spec = AttackSpec(target=TargetRule.parse("next" if targeted else "none"))
    facts = next(craft_shards(classifier, images, spec, [range(20)], plan=Plan(batch_size=20), eight_bit=eight_bit)).record
    columns = facts.to_columns()
    assert ("targets" in columns) == targeted
    assert ("predictions_rounded" in columns) == ("pixels_outside" in columns) == eight_bit
    again = ShardRecord.from_columns(columns).to_columns()
    assert list(again) == list(columns)
    assert all((again[name] == column).all() for name, column in columns.items())


def test_rounded_predictions_are_of_stored_images(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    spec = AttackSpec((1.5,), norm=2)
    shard = next(craft_shards(classifier, images, spec, [range(100)], plan=Plan(batch_size=100), eight_bit=True))
    assert shard.images.dtype == torch.uint8
    expected = classifier.predict(levels_to_pixels(shard.images)).argmax(1)
    np.testing.assert_array_equal(np.asarray(shard.record.predictions_rounded), expected)


def test_totals_add(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    def totals(size: int) -> ShardTotals:
        parts = craft_shards(
            classifier, images, AttackSpec((1.5,), 2), shard_ranges(60, size), plan=Plan(batch_size=60), eight_bit=True
        )
        nothing = ShardTotals.empty(10, targeted=False, eight_bit=True)
        return sum((ShardTotals.of(part.record, 10, 784) for part in parts), nothing)

    whole, parts = totals(60), totals(7)
    assert whole.unrounded.n == 60
    assert whole.pixels == parts.pixels == 60 * 784
    assert whole.rounded is not None
    assert parts.rounded is not None
    np.testing.assert_array_equal(whole.rounded.transition, parts.rounded.transition)
    assert whole.predictions_changed == parts.predictions_changed


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((1, 3, 3), True), ((3, 3, 3), True), ((2, 3, 3), False), ((4, 3, 3), False), ((3,), False), ((3, 4, 5, 6), False)],
)
def test_png_takes_one_or_three_channels(shape: tuple[int, ...], fits: bool) -> None:
    data = rf.ArrayDataset("some", torch.zeros(2, *shape), torch.zeros(2, dtype=torch.int64), ("a", "b"))
    if fits:
        check_eight_bit(data, AttackSpec())
        with pytest.raises(rf.SettingError, match=r"8-bit PNG needs images in \[0, 1\], got \[-1, 1\]"):
            check_eight_bit(data, AttackSpec(bounds=Bounds(-1.0, 1.0)))
    else:
        with pytest.raises(rf.DataError, match=r"needs images \(C, H, W\) of 1 or 3 channels, got .*: use --save-as"):
            check_eight_bit(data, AttackSpec(norm=math.inf))
