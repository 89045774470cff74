"""Data in the terms of the classifier that is to see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.data.subset import Subset
from robustbench_fgsm.models.preprocessing import Preprocessing

NAMES = ("cat", "dog", "cow")


@pytest.fixture
def classifier() -> rf.TorchClassifier:
    return rf.wrap(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)), 3, classes=NAMES)


def unnamed() -> rf.ArrayDataset:
    return rf.ArrayDataset("unnamed", torch.full((4, 3, 2, 2), 0.5), torch.tensor([0, 1, 1, 0]), ("0", "1"))


def test_unnamed_classes_take_classifier_names(classifier: rf.TorchClassifier) -> None:
    fitted = match_to_classifier(unnamed(), classifier)
    assert (fitted.classes, fitted.fingerprint) == (NAMES, unnamed().fingerprint)
    assert match_to_classifier(fitted, classifier) is fitted


def test_absent_classes_have_no_rate(classifier: rf.TorchClassifier) -> None:
    """A class that the data lack is n/a, never 0 %."""
    found = rf.evaluate(classifier, unnamed()).to_dict()
    last = found["epsilons"][0]["per_class"][2]
    assert (found["data"]["classes"], last["n"], last["robust_accuracy"]["value"]) == (list(NAMES), 0, None)
    assert rf.evaluate(classifier, Subset(unnamed(), [3, 1])).n == 2


def test_named_classes_stay(classifier: rf.TorchClassifier) -> None:
    data = rf.ArrayDataset("named", torch.rand(2, 3, 2, 2), torch.tensor([0, 1]), ("dog", "cat"))
    assert match_to_classifier(data, classifier) is data


def test_image_files_take_the_classifiers_size(folder: Callable[..., Path], classifier: rf.TorchClassifier) -> None:
    classifier.info = replace(classifier.info, preprocessing=Preprocessing.square(4))
    place = folder(("cat", "cow", "dog"))
    for data, side in ((rf.load_data(f"folder:{place}"), 4), (rf.load_data(f"folder:{place}", image_size=6), 6)):
        for some in (data, Subset(data, [5, 1])):
            assert next(match_to_classifier(some, classifier).batches(0, 2, 2)).images.shape == (2, 3, side, side)
    whole = rf.load_data(f"folder:{place}")
    assert isinstance(whole, ImageDataset)
    assert whole.preprocessing is None


BOUNDS = [(0.0, 255.0), (-1.0, 1.0), (-128.0, 127.0), (0.0, 0.5), (-2.1179039, 2.64)]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_8_bit_arrays_are_put_into_the_bounds(bounds: tuple[float, float]) -> None:
    """Level 0 becomes the low bound, level 255 the high one, and no float32 image leaves the bounds."""
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    data = rf.ArrayDataset("levels", levels, torch.tensor([0]), ("a", "b"))
    classifier = rf.wrap(nn.Flatten(), 2, bounds=bounds)
    (batch,) = match_to_classifier(data, classifier)
    low, high = bounds
    torch.testing.assert_close(batch.images, (low + levels.double() / 255 * (high - low)).float())
    assert rf.fgsm(nn.Flatten(), batch.images, batch.labels, 0.0, bounds=bounds).equal(batch.images)
    assert match_to_classifier(data, classifier).fingerprint == data.fingerprint


@pytest.mark.parametrize("bounds", BOUNDS)
def test_image_files_and_their_subsets_are_put_into_the_bounds(folder: Callable[..., Path], bounds: tuple[float, float]) -> None:
    whole = rf.load_data(f"folder:{folder(('cat', 'cow', 'dog'))}")
    (low, high), classifier = bounds, rf.wrap(nn.Flatten(), 3, bounds=bounds)
    for data in (whole, Subset(whole, [5, 1])):
        pixels = next(data.batches(0, 2, 2)).images
        found = next(match_to_classifier(data, classifier).batches(0, 2, 2)).images
        torch.testing.assert_close(found, (low + pixels.double() * (high - low)).float())


def test_floating_point_images_and_infinite_bounds_change_nothing() -> None:
    unbounded = rf.wrap(nn.Flatten(), 2, bounds=(-math.inf, math.inf))
    levels = rf.ArrayDataset("levels", torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([0]), ("a", "b"))
    assert float(next(iter(match_to_classifier(levels, unbounded))).images.max()) == 1
    pixels = rf.ArrayDataset("pixels", torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]), ("a", "b"))
    assert float(next(iter(match_to_classifier(pixels, rf.wrap(nn.Flatten(), 2, bounds=(0, 255))))).images.max()) == 0.5
