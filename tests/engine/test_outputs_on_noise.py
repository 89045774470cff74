"""Outputs on noise name a network of user code."""

from __future__ import annotations

import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch, first_readable_batch
from robustbench_fgsm.engine.outputs_on_noise import NOISE_IMAGES, outputs_on_noise


def test_one_number_for_each_image(images: rf.ArrayDataset) -> None:
    """A linear network whose outputs are all the mean pixel: the sum is the mean times the sum of the weights."""
    layer = nn.Linear(784, 3)
    nn.init.constant_(layer.weight, 1 / 784)
    nn.init.zeros_(layer.bias)
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), layer), 3, bounds=(2.0, 4.0), device="cpu")
    found = outputs_on_noise(classifier, lambda: first_readable_batch(images, 1))
    assert found is not None
    means = torch.tensor(found[0]) / torch.cos(torch.tensor([1.0, 2.0, 3.0])).sum()
    assert found[0] == found[1]
    assert means.shape == (NOISE_IMAGES,)
    assert bool(((means > 2.5) & (means < 3.5)).all())


def test_a_network_from_files_runs_not(classifier: rf.TorchClassifier) -> None:
    def never() -> Batch:
        raise AssertionError

    assert outputs_on_noise(classifier, never) is None


def test_images_that_do_not_fit_give_no_outputs(images: rf.ArrayDataset) -> None:
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), 3, device="cpu")
    assert outputs_on_noise(classifier, lambda: first_readable_batch(images, 1)) is None
