"""A problem that is learnt in a second: classes are coarse patterns of bright and dark squares, with noise."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

import robustbench_fgsm as rf

CLASSES = 6
SIDE = 12


@pytest.fixture(scope="session")
def patterns() -> rf.ArrayDataset:
    """1,024 images (1, 12, 12) of six classes."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 2, (CLASSES, 1, 4, 4), generator=generator).float() * 2 - 1
    ideal = interpolate(coarse, scale_factor=SIDE // 4)
    labels = torch.arange(1024) % CLASSES
    noise = 0.1 * torch.randn(1024, 1, SIDE, SIDE, generator=generator)
    images = (0.5 + 0.45 * ideal[labels] + noise).clamp(0, 1)
    return rf.ArrayDataset("patterns", images, labels, tuple(map(str, range(CLASSES))))


def untrained(seed: int, *, dropout: float = 0.0) -> rf.TorchClassifier:
    """A small convolutional network for them, with weights drawn from the seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(288, 64),
            nn.ReLU(),
            nn.Linear(64, CLASSES),
        )
    return rf.wrap(network, CLASSES)
