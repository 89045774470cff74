"""Classifier, data and attack that do not fit are refused before the first attack, by name."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.preflight import check_batch_size, check_images, preflight
from robustbench_fgsm.errors import DataError, ModelError, SettingError
from robustbench_fgsm.spec import AttackSpec, TargetRule

CLASSES = ("cat", "dog")


def data(images: Tensor | None = None, classes: tuple[str, ...] = CLASSES) -> rf.ArrayDataset:
    pixels = torch.rand(3, 1, 2, 2) if images is None else images
    return rf.ArrayDataset("pets", pixels, torch.zeros(len(pixels), dtype=torch.int64), classes)


def classifier(*layers: nn.Module, num_classes: int = 2, classes: tuple[str, ...] | None = CLASSES) -> rf.TorchClassifier:
    return rf.wrap(nn.Sequential(*layers or (nn.Flatten(), nn.Linear(4, 2))), num_classes, classes=classes)


def test_what_fits_passes_without_a_warning() -> None:
    assert preflight(classifier(), data(), AttackSpec()) == []
    assert preflight(classifier(classes=None), data(), AttackSpec()) == []


def test_no_images() -> None:
    with pytest.raises(DataError, match="at least one image, got none in pets"):
        preflight(classifier(), data(torch.rand(0, 1, 2, 2)), AttackSpec())


def test_another_number_of_classes() -> None:
    with pytest.raises(DataError, match="the model's 2 classes, got 3 in pets"):
        preflight(classifier(), data(classes=("cat", "dog", "cow")), AttackSpec())


def test_another_order_of_classes() -> None:
    with pytest.raises(DataError, match="in its order, got 'dog' where the model has 'cat'"):
        preflight(classifier(), data(classes=("dog", "cat")), AttackSpec())


@pytest.mark.parametrize(
    ("pixel", "found"),
    [
        (1.5, r"\[0, 1\], got \[0, 1.5\]: undo the normalisation"),
        (255.0, "divide 8-bit images"),
        (-0.1, r"got \[-0.1, 0\]"),
    ],
)
def test_pixels_outside_the_bounds(pixel: float, found: str) -> None:
    images = torch.zeros(3, 1, 2, 2)
    images[0, 0, 0, 0] = pixel
    with pytest.raises(DataError, match=found):
        preflight(classifier(), data(images), AttackSpec())


@pytest.mark.parametrize("pixel", [math.nan, math.inf])
def test_pixels_that_are_not_finite(pixel: float) -> None:
    remedy = "fix or leave out what is not a number" if math.isnan(pixel) else "divide 8-bit images by 255"
    with pytest.raises(DataError, match=f"got .*{pixel}.*: {remedy}"):
        preflight(classifier(), data(torch.full((3, 1, 2, 2), pixel)), AttackSpec())


def test_images_that_the_model_cannot_take() -> None:
    with pytest.raises(ModelError, match=r"accept images of shape \(3, 2, 2\), but it failed on them"):
        preflight(classifier(), data(torch.rand(3, 3, 2, 2)), AttackSpec())


def test_outputs_that_do_not_number_the_classes() -> None:
    with pytest.raises(ModelError, match=r"return logits \(3, 2\) for 3 images, got \(3, 5\)"):
        preflight(classifier(nn.Flatten(), nn.Linear(4, 5)), data(), AttackSpec())


def test_outputs_that_are_no_tensor() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(ModelError, match="a tensor of logits, got tuple"):
        preflight(classifier(Pair()), data(), AttackSpec())


@pytest.mark.parametrize("rule", ["class:cow", "shift:2"])
def test_a_target_that_there_is_not(rule: str) -> None:
    with pytest.raises(SettingError, match="targeted"):
        preflight(classifier(), data(), AttackSpec(target=TargetRule.parse(rule)))


def test_an_unknown_loss() -> None:
    with pytest.raises(SettingError, match="nosuch"):
        preflight(classifier(), data(), AttackSpec(loss="nosuch"))


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_labels_of_no_class(labels: list[int]) -> None:
    batch = rf.Batch(torch.rand(2, 1, 2, 2), torch.tensor(labels), torch.arange(2))
    expected = f"labels must lie in [0, 2), got {min(labels)} to {max(labels)}"
    with pytest.raises(DataError, match=re.escape(expected)):
        check_images(batch, classifier())


@pytest.mark.parametrize(("pixel", "problem"), [(1.5, "got [0, 1.5]"), (float("nan"), "fix or leave out")])
def test_the_first_image_with_pixels_out_of_bounds_is_named(pixel: float, problem: str) -> None:
    images = torch.zeros(3, 1, 2, 2)
    images[1:, 0, 1, 1] = pixel
    batch = rf.Batch(images, torch.tensor([0, 1, 0]), torch.tensor([40, 41, 42]))
    with pytest.raises(DataError, match=re.escape(problem) + r".* \(first of them: image 41\)$"):
        check_images(batch, classifier())


@pytest.mark.parametrize(("given", "size"), [("auto", 128), ("7", 7), (1, 1), ("0064", 64)])
def test_batch_sizes(given: int | str, size: int) -> None:
    assert check_batch_size(given) == size


@pytest.mark.parametrize("given", ["x", "", "0", 0, -1, "-1", "1.5", "1e3", "²", " 8"])
def test_what_is_no_batch_size_is_refused(given: int | str) -> None:
    with pytest.raises(SettingError, match=r"batch size must be auto or a positive integer, got .*: try 128"):
        check_batch_size(given)
