"""A network of a few weights and a few tiny images, with which a run takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf


def small_data(channels: int = 1, n: int = 25) -> rf.ArrayDataset:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, channels, 6, 5), generator=generator, dtype=torch.uint8)
    return rf.ArrayDataset("small", images, torch.arange(n) % 3, ("a", "b", "c"))


def small_classifier(channels: int = 1, seed: int = 0) -> rf.TorchClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(channels * 30, 16), nn.ReLU(), nn.Linear(16, 3))
    return rf.wrap(network, 3)


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every test here runs on one thread."""


@pytest.fixture
def data() -> rf.ArrayDataset:
    """25 grey images of 6 x 5 in three classes."""
    return small_data()


@pytest.fixture
def classifier() -> rf.TorchClassifier:
    """One hidden layer, untrained."""
    return small_classifier()


@pytest.fixture
def make_data() -> Callable[..., rf.ArrayDataset]:
    """The same with so many channels."""
    return small_data


@pytest.fixture
def make_classifier() -> Callable[..., rf.TorchClassifier]:
    """The same for so many channels, or from another seed."""
    return small_classifier
