"""Test distances against networks whose decision boundary is known."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import attack_batch
from robustbench_fgsm.engine.distances import measure_distances
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.distance import CENSORED, UNKNOWN, distance_levels


class Threshold(nn.Module):
    """Class 1 from a mean pixel of 0.6 on; not finite from `overflow` on."""

    def __init__(self, overflow: float = math.inf) -> None:
        super().__init__()
        self.overflow = overflow

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        logits = torch.stack([0.6 - mean, mean - 0.6], 1)
        return torch.where(mean.unsqueeze(1) > self.overflow, math.nan, logits)


def positions(pixels: list[float], overflow: float = math.inf, max_epsilon: float = 0.5) -> list[int]:
    x = torch.tensor(pixels).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    batch = Batch(x.contiguous(), torch.zeros(len(pixels), dtype=torch.int64), torch.arange(len(pixels)))
    classifier = rf.wrap(Threshold(overflow), 2)
    found: list[int] = measure_distances(
        classifier, attack_batch(classifier, batch, AttackSpec(), ("a", "b")), max_epsilon
    ).tolist()
    return found


def test_known_distances_within_one_step_of_the_scale() -> None:
    pixels = [0.7, 0.59, 0.5, 0.35, 0.05]
    found, levels = positions(pixels), distance_levels(0.5)
    assert found[0] == 0
    assert found[-1] == CENSORED
    for pixel, at in zip(pixels[1:-1], found[1:-1], strict=True):
        assert levels[at - 1] - 1e-6 <= 0.6 - pixel <= levels[at] + 1e-6


def test_largest_budget_censors() -> None:
    assert positions([0.5], max_epsilon=0.09) == [CENSORED]
    assert 0 < positions([0.5], max_epsilon=0.11)[0] < CENSORED


def test_outputs_that_are_not_finite_leave_a_distance_unknown() -> None:
    assert positions([0.2, 0.5], overflow=0.55) == [UNKNOWN, UNKNOWN]
    assert positions([0.02], overflow=0.55) == [CENSORED]


def test_an_image_fooled_at_a_coarse_budget_has_a_distance_up_to_it() -> None:
    network, images = rf.load_classifier("smallcnn"), rf.load_data("fashion-mnist", limit=100)
    batch = next(images.batches(0, 100, 100))
    attacked = attack_batch(network, batch, AttackSpec(), images.classes)
    values = distance_levels(0.5)[measure_distances(network, attacked, 0.5).numpy()]
    for epsilon in (1 / 255, 4 / 255, 16 / 255):
        fooled = network.predict(attacked.gradient_step.perturb(epsilon)).argmax(1) != batch.labels
        assert (values[fooled.numpy()] <= epsilon).all()
    assert np.isfinite(values).any()
