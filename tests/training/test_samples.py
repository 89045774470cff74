"""Each epoch sees every image once, in another order; held-out ones never."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils.data import ConcatDataset, TensorDataset

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


def test_copies_of_training_images_among_the_held_out_are_counted(images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 40, 40))
    assert split_held_out(images, TrainingRecipe(held_out=56)).warnings() == []
    arrays = torch.cat([batch.images] * 2), torch.cat([batch.labels] * 2)
    doubled = rf.ArrayDataset("d", *arrays, images.classes)
    for data in (doubled, rf.load_data(ConcatDataset([TensorDataset(*arrays)]))):
        samples = split_held_out(data, TrainingRecipe(held_out=16))
        trained = {int(index) % 40 for index in samples.indices}
        copies = sum(int(index) % 40 in trained for index in samples.held_out_indices)
        assert copies > 8
        assert any(f"{copies} of 16 held-out images equal a training image" in text for text in samples.warnings())
    assert not any("held-out" in text for text in split_held_out(doubled, TrainingRecipe(held_out=0)).warnings())


def test_classes_without_images_are_named(images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 256, 256))
    names = tuple(map(str, range(11)))
    (found,) = split_held_out(rf.ArrayDataset("d", batch.images, batch.labels + 1, names), TrainingRecipe(held_out=0)).warnings()
    assert found.startswith("1 of 11 classes have no training image, first '0': if labels count from 1, pass --labels-from 1")
    (found,) = split_held_out(rf.ArrayDataset("d", batch.images, batch.labels, names), TrainingRecipe(held_out=0)).warnings()
    assert found == "1 of 11 classes have no training image, first '10': add images of these classes"
