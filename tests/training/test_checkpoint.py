"""State of a training, as bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.training.checkpoint import TrainingState
from robustbench_fgsm.training.optimizer import build_optimizer
from robustbench_fgsm.training.recipe import TrainingRecipe
from robustbench_fgsm.training.watch import ValidationCheck


def state(seed: int, recipe: TrainingRecipe = TrainingRecipe()) -> TrainingState:  # noqa: B008  (it is frozen)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = nn.Linear(3, 2)
    return TrainingState(network, *build_optimizer(network, recipe, 10))


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


def changed_state(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The state after one step, with a change."""
    current, stream = state(0), io.BytesIO()
    step(current)
    current.checks.append(ValidationCheck(1, 1, 1, 0.5, 0.002))
    document = torch.load(io.BytesIO(current.to_bytes()), weights_only=True)
    change(document)
    torch.save(document, stream)
    return stream.getvalue()


def test_a_changed_state_is_valid_if_nothing_changes() -> None:
    restored = state(1)
    restored.restore(changed_state(lambda document: None))
    assert restored.steps_done == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(run="another"), "must be of this training, got that of another one"),
        (lambda document: document["network"].update(weight=torch.zeros(3, 2)), "weight of another shape"),
        (lambda document: document["network"].update(bias=torch.full((2,), torch.nan)), "bias not finite"),
        (lambda document: document.update(best={"weight": torch.zeros(2, 3)}), "bias missing"),
        (lambda document: document["optimizer"][0].update(exp_avg=torch.zeros(1).expand(10**12)), "moments of parameter 0"),
        (lambda document: document["optimizer"][1].update(exp_avg=torch.zeros(2).to_sparse()), "moments of parameter 1"),
        (lambda document: document["optimizer"][1].pop("step"), "moments of parameter 1"),
        (lambda document: document.update(progress=document["progress"].replace('"done": 1', '"done": 2')), "2 steps after 1"),
        (
            lambda document: document.update(progress=document["progress"].replace('"loss": 0.5', '"loss": "x"')),
            "valid checks.0.loss",
        ),
        (lambda document: document.update(random=[[torch.zeros(3)]]), "cannot be read"),
    ],
)
def test_rejects_a_state_that_does_not_fit(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(rf.RunError, match=message):
        state(0).restore(changed_state(change))


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_learning_rates_go_on(optimizer: str, schedule: str) -> None:
    """They are not in the state, but follow from the recipe and the number of steps."""
    recipe = TrainingRecipe(optimizer=optimizer, schedule=schedule)
    first, second = state(0, recipe), state(1, recipe)
    for _ in range(4):
        step(first)
    first.checks.append(ValidationCheck(1, 1, 4, 0.5, 0.002))
    with torch.random.fork_rng([]):
        second.restore(first.to_bytes())
    for _ in range(3):
        step(first)
        step(second)
        assert first.optimizer.param_groups[0]["lr"] == second.optimizer.param_groups[0]["lr"]
    assert all(torch.equal(*pair) for pair in zip(first.network.parameters(), second.network.parameters(), strict=True))


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_rejects_other_bytes(content: bytes) -> None:
    with pytest.raises((rf.RunError, rf.UnsafeError), match="state of a training"):
        state(0).restore(content)
