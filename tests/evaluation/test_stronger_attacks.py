"""Test ART's attacks behind one signature."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

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


@pytest.mark.reference
@pytest.mark.parametrize("check", [{"pgd_check": 20}, {"check_masking": True}, {"restarts": 2}])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_numbers_by_channel_count_as_those_of_every_pixel(check: dict[str, object], norm: str) -> None:
    """The width is not the number of channels, and no channel has the bounds and the scale of another one."""
    torch.manual_seed(0)
    x, y = torch.rand(20, 3, 4, 5), torch.randint(0, 4, (20,))
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 4))
    high, scale = torch.tensor([1.0, 1.5, 2.0]), torch.tensor([1.0, 0.0, 0.5])
    found = []
    for by_pixel in (False, True):
        limits = (torch.zeros(3), high, scale)
        zeros, highs, scales = (one.view(3, 1, 1).expand(3, 4, 5) if by_pixel else one for one in limits)
        options: dict[str, Any] = {"norm": norm, "epsilon_scale": scales, **check}
        classifier = rf.wrap(network, 4, bounds=(zeros, highs))
        found.append(rf.evaluate(classifier, (x, y), 0.05 if norm == "inf" else 0.3, **options).to_dict())
    one, other = found
    for key in ("epsilons", "pgd_check", "gradient_masking"):
        assert one.get(key) == other.get(key)
    assert one["epsilons"][0]["robust_accuracy"] != one["clean"]["accuracy"]


@pytest.mark.reference
def test_art_clips_channels_by_their_bounds() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(20, 3, 4, 5), torch.randint(0, 4, (20,))
    bounds = (torch.zeros(3), torch.tensor([1.0, 1.5, 2.0]))
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(60, 4)), 4, bounds=bounds)
    for scale in (None, "range", [1, 0, 2]):
        comparison = rf.compare(classifier, (x, y), epsilon=0.3, epsilon_scale=scale, references=["art"]).to_dict()
        assert comparison["verdict"] == "agree"
        assert comparison["references"][0]["max_abs_difference"] <= 1e-6
