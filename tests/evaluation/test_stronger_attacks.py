"""Test ART's attacks behind one signature."""

from __future__ import annotations

import math

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.stronger_attacks import pgd, square_attack, supports_square_attack

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.reference
@pytest.mark.parametrize(("norm", "epsilon"), [(math.inf, 0.03), (2.0, 0.5)])
def test_images_stay_in_ball_and_bounds(
    classifier: rf.TorchClassifier, images: rf.ArrayDataset, norm: float, epsilon: float
) -> None:
    batch = next(images.batches(0, 8, 8))
    for crafted in (
        pgd(classifier, batch.images, batch.labels, epsilon, norm=norm, steps=3),
        square_attack(classifier, batch.images, batch.labels, epsilon, norm=norm, steps=3),
    ):
        assert crafted.shape == batch.images.shape
        assert 0 <= float(crafted.min()) <= float(crafted.max()) <= 1
        moved = torch.linalg.vector_norm((crafted - batch.images).flatten(1), ord=norm, dim=1)
        assert float(moved.max()) <= epsilon * 1.001


def test_zero_epsilon_returns_the_images(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 4, 4))
    assert torch.equal(pgd(classifier, batch.images, batch.labels, 0.0, steps=3), batch.images)
    assert torch.equal(square_attack(classifier, batch.images, batch.labels, 0.0, steps=3), batch.images)


def test_square_needs_images_of_some_size(classifier: rf.TorchClassifier) -> None:
    assert supports_square_attack(classifier, torch.rand(1, 1, 28, 28), math.inf)
    assert not supports_square_attack(classifier, torch.rand(1, 784), math.inf)
    assert not supports_square_attack(classifier, torch.rand(1, 1, 8, 8), 2.0)
