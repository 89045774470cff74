"""A linear network, on which FGSM is the strongest attack."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from tests.report.conftest import measured as measured


@pytest.fixture(scope="session")
def linear() -> tuple[rf.TorchClassifier, rf.ArrayDataset]:
    """Return a classifier of two classes that a plane separates, and images near the plane."""
    generator = torch.Generator().manual_seed(0)
    plane = nn.Linear(36, 2)
    with torch.no_grad():
        plane.weight.copy_(torch.randn(2, 36, generator=generator))
        plane.bias.copy_(-plane.weight.sum(1) / 2)
    network = nn.Sequential(nn.Flatten(), plane)
    images = (0.5 + 0.1 * torch.randn(120, 1, 6, 6, generator=generator)).clamp(0, 1)
    classifier = rf.wrap(network, 2)
    labels = classifier.predict(images).argmax(1)
    return classifier, rf.ArrayDataset("plane", images, labels, ("0", "1"))
