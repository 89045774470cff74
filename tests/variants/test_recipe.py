"""A recipe on a linear network, whose gradient W^T (softmax - onehot) is derived by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.recipe import CORRECT_RECIPE, RecipeRunner, parse_steps

EPSILON = 0.1
WEIGHT = torch.tensor([[1.0, -2.0, 0.0, 4.0], [0.0, 3.0, 0.0, 1.0]])


def attack_call(targeted: bool = False) -> AttackCall:
    linear = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(WEIGHT)
    x = torch.tensor([[0.5, 0.5, 0.5, 0.95], [0.4, 0.6, 0.2, 0.03]]).view(2, 1, 2, 2)
    return AttackCall(nn.Sequential(nn.Flatten(), linear).eval(), x, torch.tensor([0, 1]), EPSILON, targeted)


def signs(call: AttackCall) -> Tensor:
    """Signs of W^T (softmax - onehot): with two classes the direction from the label's row to the other row."""
    towards_other = (WEIGHT[1] - WEIGHT[0]).sign()
    return torch.stack([towards_other, -towards_other]).view(call.x.shape)


def run(call: AttackCall, **changes: str) -> Tensor:
    return RecipeRunner().run(call, replace(CORRECT_RECIPE, **changes))


@pytest.mark.parametrize("targeted", [False, True])
def test_correct_recipe(targeted: bool) -> None:
    call = attack_call(targeted)
    expected = (call.x + EPSILON * signs(call) * (-1 if targeted else 1)).clamp(0, 1)
    assert torch.equal(run(call), expected)
    assert torch.equal(run(call), rf.fgsm(call.model, call.x, call.y, EPSILON, targeted=targeted))


@pytest.mark.parametrize(
    ("changes", "factor"),
    [({"step_sign": "opposite"}, -1), ({"epsilon": "half"}, 0.5), ({"epsilon": "none"}, 0), ({"labels": "shifted by 1"}, -1)],
)
def test_one_change(changes: dict[str, str], factor: float) -> None:
    call = attack_call()
    assert torch.allclose(run(call, **changes), (call.x + factor * EPSILON * signs(call)).clamp(0, 1))


def test_no_clip_leaves_the_bounds() -> None:
    call = attack_call()
    assert torch.equal(run(call, clip="none"), call.x + EPSILON * signs(call))


def test_changes_lists_wrong_stages() -> None:
    assert CORRECT_RECIPE.changes == {}
    assert replace(CORRECT_RECIPE, loss="mse", clip="none").changes == {"loss": "mse", "clip": "none"}


@pytest.mark.parametrize(
    ("steps", "parsed"), [("one", (1, 1.0)), ("4 of a share", (4, 0.25)), ("5 of 2.5 shares", (5, 0.5)), ("3 of epsilon", (3, 1.0))]
)
def test_parse_steps(steps: str, parsed: tuple[int, float]) -> None:
    assert parse_steps(steps) == parsed


def test_float64_gradient() -> None:
    call = attack_call()
    residual = call.model(call.x).double().softmax(1) - nn.functional.one_hot(call.y, 2)
    expected = (residual @ WEIGHT.double()).view(call.x.shape)
    assert torch.allclose(RecipeRunner().float64_gradient(call), expected, atol=1e-7)


def test_single_changes_are_cached() -> None:
    call, runner = attack_call(), RecipeRunner()
    single, pair = replace(CORRECT_RECIPE, clip="none"), replace(CORRECT_RECIPE, clip="none", epsilon="half")
    assert runner.cached(call, single) is runner.cached(call, single)
    assert runner.cached(call, pair) is not runner.cached(call, pair)
