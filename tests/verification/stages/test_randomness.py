"""What is drawn: starts, budgets, labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from tests.verification.conftest import right, wrong_stages


def causes(found: rf.Verification) -> dict[str, str | None]:
    return {one.stage: one.cause for one in found.wrong_stages}


@pytest.mark.parametrize("seeded", [False, True])
def test_a_random_start(seeded: bool) -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        generator = torch.Generator().manual_seed(0) if seeded else None
        start = (x + epsilon * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)
        return (x + (right(model, start, y, epsilon) - x).clamp(-epsilon, epsilon)).clamp(0, 1)

    found = rf.verify(fgsm)
    assert causes(found)["randomness"] == "random-start"
    reading = next(one for one in found.stages if one.stage == "randomness")
    assert (reading.measured["distribution"], reading.measured["radius"]) == ("uniform", pytest.approx(1, abs=0.01))


def test_a_random_budget() -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return (x + torch.rand(len(x), 1, 1, 1) * (right(model, x, y, epsilon) - x)).clamp(0, 1)

    assert causes(rf.verify(fgsm)) == {"size": "random-budget", "randomness": "random-budget"}


def test_random_labels() -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return right(model, x, torch.randint(0, 2, y.shape), epsilon)

    assert wrong_stages(rf.verify(fgsm)) == ["labels", "randomness"]
