"""Test distances over a data set: alone, beside an evaluation, and on networks that have none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf


def test_distances_agree_with_a_sweep(images: rf.ArrayDataset) -> None:
    network = rf.load_classifier("smallcnn")
    found = rf.distances(network, images)
    assert found.values.dtype == np.float32
    assert found.values.shape == (len(images),)
    (evaluation,) = rf.sweep(network, images, "1,2,4,8,16/255", distance=True)
    clean = evaluation.clean_accuracy.count
    assert (found.values > 0).sum() == clean
    for epsilon, tally in zip(evaluation.attack.epsilons, evaluation.tallies, strict=True):
        assert (found.values > np.float32(epsilon)).sum() <= tally.robust_accuracy.count
    assert found.to_dict() == evaluation.to_dict()["distance"]


def test_batch_size_moves_distances_by_rounding_alone(images: rf.ArrayDataset) -> None:
    network = rf.load_classifier("smallcnn")
    first, second = (rf.distances(network, images, batch_size=size).images.positions for size in (7, 64))
    assert (abs(first - second) <= 1).mean() > 0.98


def test_saturated_images_have_a_distance_along_exact_gradients() -> None:
    """Logits a million apart: float32 gives a gradient of 0, and the exact gradient finds the boundary at a mean of 0.5."""
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1e6] * 4, [1e6] * 4]))
        linear.bias.copy_(torch.tensor([2e6, -2e6]))
    network = nn.Sequential(nn.Flatten(), linear)
    images, labels = 0.4 + torch.arange(8).reshape(8, 1, 1, 1).expand(8, 1, 2, 2) / 1e4, torch.zeros(8, dtype=torch.int64)
    evaluation = rf.evaluate(rf.wrap(network, 2), (images, labels), distance=True)
    found = evaluation.to_dict()["distance"]
    assert found["censored"] == 8
    assert found["stable"]["quantiles"][2]["value"] == pytest.approx(0.1, abs=0.01)
    with (
        pytest.warns(RuntimeWarning, match="saturation: .* pass stable=True"),
        pytest.warns(RuntimeWarning, match="no image is fooled up to 0.5"),
    ):
        assert rf.distances(rf.wrap(network, 2), (images, labels)).values.min() == math.inf
    assert rf.distances(rf.wrap(network, 2), (images, labels), stable=True).values == pytest.approx(0.1, abs=0.01)


def test_a_target_has_a_distance(images: rf.ArrayDataset) -> None:
    network = rf.load_classifier("smallcnn")
    untargeted, targeted = (np.median(rf.distances(network, images, targeted=rule).values) for rule in ("none", "next"))
    assert targeted > untargeted


@pytest.mark.parametrize("value", [0, "0/255", "1,2/255", -1, 2, math.nan])
def test_largest_budget_is_one_positive_number(images: rf.ArrayDataset, value: float | str) -> None:
    network = rf.load_classifier("smallcnn")
    with pytest.raises(rf.SettingError, match="epsilon"):
        rf.evaluate(network, images, distance=True, max_epsilon=value)


def test_batch_statistics_have_no_distances(images: rf.ArrayDataset) -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784, track_running_stats=False), nn.Linear(784, 10))
    with pytest.raises(rf.SettingError, match="leave distance out"):
        rf.distances(network, images)
    assert rf.evaluate(network, images).distances is None


def test_an_invalid_measurement_warns(images: rf.ArrayDataset) -> None:
    class Overflow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            flat = x.flatten(1)[:, :10]
            return torch.where((x.flatten(1).mean(1) > 0.4).unsqueeze(1), math.inf * 0, flat)

    with pytest.warns(RuntimeWarning, match="must not be used"):
        rf.distances(rf.wrap(Overflow(), 10), images)


def test_document_without_distances_says_so(images: rf.ArrayDataset) -> None:
    evaluation = rf.evaluate(rf.load_classifier("smallcnn"), images)
    assert evaluation.to_dict()["distance"] is None
    assert "max_epsilon" not in replace(evaluation.attack).to_dict()
