"""State of a training, as bytes."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.training.checkpoint import TrainingState
from robustbench_fgsm.training.optimizer import build_optimizer
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.watch import ValidationCheck


def state(seed: int) -> TrainingState:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = nn.Linear(3, 2)
    return TrainingState(network, *build_optimizer(network, TrainingRecipe(), 10))


def step(state: TrainingState) -> None:
    loss = state.network(torch.ones(1, 3)).square().sum()
    state.optimizer.zero_grad()
    loss.backward()
    state.optimizer.step()
    state.schedule.step()
    state.steps_done += 1


def test_restores_everything() -> None:
    first, second = state(0), state(1)
    step(first)
    first.checks.append(ValidationCheck(1, 1, 1, 0.5, 0.002, clean=rf.Rate(3, 4)))
    first.bad.add(rf.BadSample("a.png", "empty"))
    first.keep_best_weights(0)
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        content, drawn = first.to_bytes(), torch.rand(1)
        torch.manual_seed(8)
        second.restore(content)
        assert torch.rand(1) == drawn
    step(first)
    step(second)
    assert all(torch.equal(*pair) for pair in zip(first.network.parameters(), second.network.parameters(), strict=True))
    assert (second.steps_done, second.checks, second.bad, second.best_check) == (2, first.checks, first.bad, 0)
    assert second.best_weights is not None


def test_best_weights_are_a_copy() -> None:
    current = state(0)
    current.keep_best_weights(3)
    assert current.best_weights is not None
    before = {name: value.clone() for name, value in current.best_weights.items()}
    step(current)
    assert all(torch.equal(value, before[name]) for name, value in current.best_weights.items())
    assert current.best_check == 3


def test_rejects_other_tensors() -> None:
    stream = io.BytesIO()
    torch.save({"network": {}}, stream)
    with pytest.raises(rf.RunError, match="state of a training"):
        state(0).restore(stream.getvalue())


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_rejects_other_bytes(content: bytes) -> None:
    with pytest.raises((rf.RunError, rf.UnsafeError), match="state of a training"):
        state(0).restore(content)
