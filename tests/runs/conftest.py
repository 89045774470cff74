"""A network of a few weights and a few tiny images, with which a run takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.fashion_mnist import load_fashion_mnist
from robustbench_fgsm.engine.choose_plan import choose_plan
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.spec import AttackSpec, TargetRule
from tests.engine.unusual_networks import make_rounding


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


@pytest.fixture
def run() -> EvaluationRun:
    """A sweep of 250 tiny images in pieces of eight, some of them saturated."""
    sharp = small_classifier()
    with torch.no_grad():
        for parameter in sharp.network.parameters():
            parameter.mul_(12)
    specs = tuple(AttackSpec((0.01, 0.2), target=TargetRule.parse(rule)) for rule in ("none", "random"))
    return EvaluationRun("sweep", sharp, small_data(n=250), specs, Plan(batch_size=8, threads=1))


@pytest.fixture
def guarded() -> EvaluationRun:
    """A sweep of 2,000 images under a guarded plan."""
    classifier, data, specs = make_rounding(), load_fashion_mnist().head(2000), (AttackSpec((0.5 / 255, 1 / 255)),)
    return EvaluationRun(
        "sweep",
        classifier,
        data,
        specs,
        choose_plan(
            classifier, data, specs, RunOptions(25, "safe"), timer=lambda planned, *_: 0.1 if planned.plan.guarded else 1.0
        ),
    )
