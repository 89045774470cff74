"""What a call leaves behind and depends on."""

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
from tests.verification.conftest import reading_of, right, wrong_stages


def adding_up(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x.requires_grad_()
    functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return (x + epsilon * x.grad.sign()).clamp(0, 1).detach()


def in_train_mode(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return right(copy.deepcopy(model).train(), x, y, epsilon)


def in_place(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return x.copy_(right(model, x, y, epsilon))


def mode_left(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adversarial = right(model, x, y, epsilon)
    model.train()
    return adversarial


def seeding(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.manual_seed(0)
    np.random.seed(0)
    return right(model, x, y, epsilon)


def double_by_default(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return right(model, x, y, epsilon)


def mean_gradient(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(functional.cross_entropy(model(leaf), y), leaf)
    return (x + epsilon * grad.mean(0, keepdim=True).sign()).clamp(0, 1)


class FirstNetwork:
    def __init__(self) -> None:
        self.networks: dict[Any, nn.Module] = {}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        shape = tuple(model(x[:1]).shape[1:]), tuple(x.shape[1:]), str(model)
        network = self.networks.setdefault(shape, copy.deepcopy(model))
        return right(network, x, y, epsilon)


@pytest.mark.parametrize(
    ("candidate", "cause"),
    [
        (adding_up, "stale-gradient"),
        (in_train_mode, "train-mode"),
        (in_place, "mutates-input"),
        (mode_left, "mode-left-changed"),
        (seeding, "reseeds-generator"),
        (double_by_default, "changes-global-state"),
        (mean_gradient, "batch-coupled"),
        (FirstNetwork(), "other-weights"),
    ],
)
def test_names_the_conduct(candidate: Callable[..., Any], cause: str) -> None:
    reading = reading_of("conduct", candidate)
    assert (reading.verdict, reading.cause) == ("wrong", cause)
    assert reading.remedy


def test_a_candidate_that_needs_a_new_tensor_is_right_and_says_so() -> None:
    def clearing(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x.requires_grad = True
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        return (x + epsilon * x.grad.sign()).clamp(0, 1).detach()

    found = rf.verify(clearing)
    assert found.verdict == "right"
    assert "pass a new tensor" in next(one.evidence for one in found.harmless if one.cause == "stale-gradient")


def test_wrong_pixels_that_no_stage_explains_are_never_right() -> None:
    def odd_batches(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        adversarial = right(model, x, y, epsilon)
        return x + (adversarial - x) / 2 if len(x) == 17 else adversarial

    found = rf.verify(odd_batches)
    assert wrong_stages(found) == ["conduct"]
    assert "odd batch" in found.wrong_stages[0].text
