"""The bare loop takes our step, counts what `evaluate` counts, and leaves the data unchanged."""

from __future__ import annotations

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking.bare_loop import BareLoop, BareResult
from robustbench_fgsm.benchmarking.contenders import BARE_LOOP_LAYOUTS, Contender
from robustbench_fgsm.spec import AttackSpec

EPSILONS = (4 / 255, 8 / 255)
SPEC = AttackSpec(EPSILONS)


@pytest.mark.parametrize("layout", BARE_LOOP_LAYOUTS)
def test_counts_match_evaluate(convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult, layout: str) -> None:
    loop = Contender("bare", layout).make_implementation(convolutional, few, SPEC, 32)
    assert isinstance(loop, BareLoop)
    assert loop.job(few, EPSILONS) == expected
    assert loop.attack(few, EPSILONS) == 200
    assert not any(parameter.requires_grad for parameter in loop.network.parameters())


def test_one_gradient_per_batch(convolutional: rf.TorchClassifier, few: rf.Dataset) -> None:
    loop = Contender("bare", "channels-last").make_implementation(convolutional, few, SPEC, 50)
    assert isinstance(loop, BareLoop)
    gradients: list[bool] = []
    loop.network.register_forward_hook(lambda network, x, outputs: gradients.append(outputs.requires_grad))
    loop.job(few, EPSILONS)
    assert gradients == [True, False, False] * 2


@pytest.mark.parametrize(("norm", "epsilon"), [("inf", 8 / 255), ("2", 1.0)])
def test_takes_our_step(convolutional: rf.TorchClassifier, few: rf.Dataset, norm: str, epsilon: float) -> None:
    spec = AttackSpec((epsilon,), float(norm))
    loop = Contender("bare", "default").make_implementation(convolutional, few, spec, 64)
    assert isinstance(loop, BareLoop)
    batch = next(few.batches(0, 64, 64))
    _, direction = loop.predict_and_find_direction(batch.images, batch.labels)
    ours = rf.fgsm(convolutional, batch.images, batch.labels, epsilon, norm=norm)
    assert torch.allclose(loop.step(batch.images, direction, epsilon), ours, atol=1e-6)


def test_leaves_the_data_unchanged(convolutional: rf.TorchClassifier) -> None:
    stored = torch.rand(8, 1, 28, 28)
    data = rf.ArrayDataset("floats", stored, torch.zeros(8, dtype=torch.int64), convolutional.classes or ())
    before = stored.clone()
    Contender("bare", "default").make_implementation(convolutional, data, SPEC, 4).job(data, EPSILONS)
    assert torch.equal(stored, before)
    assert not stored.requires_grad
