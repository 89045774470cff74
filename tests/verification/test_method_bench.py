"""Calls for attacks of several steps: a batch of which some images are fooled soon, some late, and some never."""

from __future__ import annotations

import math

import pytest
import torch

from robustbench_fgsm.verification.bench_calls import EPSILON, BenchSettings
from robustbench_fgsm.verification.method_bench import L2_EPSILON, LONG, build_method_calls, wave_batch
from robustbench_fgsm.verification.methods import parse_method
from tests.verification.candidates.family import projected


def test_some_images_are_fooled_soon_some_late_and_some_never() -> None:
    network, x, y = wave_batch(BenchSettings(), 31)
    fooled = [int((network(projected(steps=steps)(network, x, y, EPSILON)).argmax(1) != y).sum()) for steps in (0, 1, 3, 10)]
    assert 0 < fooled[0] < fooled[1] <= fooled[2] <= fooled[3] < len(x)


@pytest.mark.parametrize(("norm", "epsilon"), [("inf", EPSILON), ("2", L2_EPSILON)])
def test_budgets_are_in_the_norm_of_the_method(norm: str, epsilon: float) -> None:
    calls = {one.name: one for one in build_method_calls(BenchSettings(), parse_method("pgd", norm), targeted=True)}
    assert calls["rows"].call.epsilon == epsilon
    assert calls["targeted"].call.targeted
    assert len({calls[name].call.epsilon for name in ("rows", "rows, other images", "size, large")}) == 3
    assert all(one.method.norm == (math.inf if norm == "inf" else 2) for one in calls.values())


def test_a_normalised_network_has_the_same_kind_of_gradient() -> None:
    settings = BenchSettings()
    for normalised in (False, True):
        network, x, y = wave_batch(settings, 34, normalised=normalised)
        leaf = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(torch.nn.functional.cross_entropy(network(leaf), y), leaf)
        assert bool((grad[..., :-4] != 0).all())
        assert not bool(grad[..., -4:].any())


def test_long_attacks_get_fewer_images() -> None:
    short, long = (
        build_method_calls(BenchSettings(), parse_method("pgd", steps=steps), targeted=False)[0] for steps in (10, LONG + 1)
    )
    assert len(long.call.x) == len(short.call.x) // 2


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 48)])
def test_images_of_other_shapes(shape: tuple[int, int, int]) -> None:
    calls = build_method_calls(BenchSettings(shape=shape, num_classes=5, own_shape=True), parse_method("bim"), targeted=False)
    assert all(one.call.x.shape[1:] == shape for one in calls if one.name.startswith("rows"))
