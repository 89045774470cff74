"""Fixtures of the benchmark tests: a convolutional network, a few images, and the counts that `evaluate` gives on them."""

from __future__ import annotations

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking.bare_loop import BareResult

EPSILONS = (4 / 255, 8 / 255)


@pytest.fixture(scope="session")
def convolutional(network: rf.TorchClassifier) -> rf.TorchClassifier:
    return network


@pytest.fixture(scope="module")
def few() -> rf.Dataset:
    return rf.load_data("fashion-mnist", limit=100)


@pytest.fixture(scope="module")
def expected(convolutional: rf.TorchClassifier, few: rf.Dataset) -> BareResult:
    """What `evaluate` says at each budget."""
    found = [rf.evaluate(convolutional, few, epsilon) for epsilon in EPSILONS]
    return BareResult(100, found[0].clean_accuracy.count, tuple(one.tallies[0].robust_accuracy.count for one in found))
