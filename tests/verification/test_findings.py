"""Mistakes without a known variant are named by what the calls or a measurement show."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf

TIME_LIMIT = 60.0


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad(functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    return torch.as_tensor(grad)


def six_steps(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = x.clone()
    for _ in range(6):
        adv = adv + 0.3 * epsilon * gradient(model, adv, y).sign()
        adv = (x + (adv - x).clamp(-epsilon, epsilon)).clamp(0, 1)
    return adv


def start_of_numpy(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    noise = np.random.uniform(-epsilon, epsilon, tuple(x.shape)).astype("float32")
    adv = (x + torch.from_numpy(noise)).clamp(0, 1)
    adv = adv + epsilon * gradient(model, adv, y).sign()
    return (x + (adv - x).clamp(-epsilon, epsilon)).clamp(0, 1)


def surrogate(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    other = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 4))
    return (x + epsilon * gradient(other, x, y).sign()).clamp(0, 1)


def noisy_weights(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    noisy = copy.deepcopy(model)
    with torch.no_grad():
        for weight in noisy.parameters():
            weight.mul_(1 + 0.2 * torch.randn_like(weight))
    return (x + epsilon * gradient(noisy, x, y).sign()).clamp(0, 1)


def three_quarters(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + 0.75 * epsilon * gradient(model, x, y).sign()).clamp(0, 1)


HINTED: dict[Callable[..., Any], tuple[str, str]] = {
    six_steps: ("iterated", "called at 6 points"),
    start_of_numpy: ("random-start", "away from the images"),
    surrogate: ("other-weights", "never called"),
    noisy_weights: ("other-weights", "other weights"),
    three_quarters: ("wrong-epsilon", "every step is 0.75 times epsilon"),
}


@pytest.mark.parametrize("candidate", HINTED, ids=lambda candidate: candidate.__name__)
def test_names_evidence_from_calls(candidate: Callable[..., Any]) -> None:
    found = rf.verify(candidate, cases=["grey", "colour", "repeated"], time_limit=TIME_LIMIT)
    cause, evidence = HINTED[candidate]
    assert found.diagnosis[0].cause == cause, found.diagnosis
    assert evidence in found.diagnosis[0].evidence
