"""Data in the terms of the classifier that is to see them."""

from __future__ import annotations

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
