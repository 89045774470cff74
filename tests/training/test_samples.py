"""Each epoch sees every image once, in another order; held-out ones never."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.samples import TrainingSamples, split_held_out


def seen(samples: TrainingSamples, epoch: int, first: int = 0) -> list[int]:
    bad: set[BadSample] = set()
    return [int(id_) for batch, _ in samples.epoch_batches(epoch, first, bad) for id_ in batch.ids]


def test_epoch_contains_each_image(images: rf.ArrayDataset) -> None:
    samples = split_held_out(images, TrainingRecipe(batch_size=8, held_out=56))
    held = samples.held_out_batch()
    assert held is not None
    first, second = seen(samples, 0), seen(samples, 1)
    assert sorted([*first, *map(int, held.ids)]) == list(range(256))
    assert sorted(first) == sorted(second)
    assert first != second
    assert seen(samples, 0) == first


def test_epoch_continues(images: rf.ArrayDataset) -> None:
    samples = split_held_out(images, TrainingRecipe(batch_size=10, held_out=0))
    assert samples.steps_per_epoch == 25
    assert samples.held_out_batch() is None
    assert seen(samples, 3, 7) == seen(samples, 3)[70:]


def test_static_sees_images_twice(images: rf.ArrayDataset) -> None:
    samples = split_held_out(images, TrainingRecipe("static", batch_size=16, held_out=0))
    rows = [
        (int(id_), bool(again))
        for batch, second in samples.epoch_batches(0, 0, set())
        for id_, again in zip(batch.ids, second, strict=True)
    ]
    assert Counter(rows) == Counter((index, again) for index in range(256) for again in (False, True))


def test_images_stay_with_their_labels(images: rf.ArrayDataset) -> None:
    samples = split_held_out(images, TrainingRecipe(batch_size=16, held_out=0))
    whole = next(images.batches(0, 256, 256))
    for batch, _ in samples.epoch_batches(0, 0, set()):
        assert torch.equal(batch.images, whole.images[batch.ids])
        assert torch.equal(batch.labels, whole.labels[batch.ids])


def test_rejects_too_few_images(images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="training needs images beside the 256 held out, got 256"):
        split_held_out(images, TrainingRecipe(held_out=256))
