"""What comes back that is no batch of images, for a gradient of 0 and for a budget of 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from tests.verification.candidates.family import ball, gradient, projected, unit
from tests.verification.conftest import attack, wrong_stages

CASES = ["rows", "zero gradient", "size, zero"]
L2: dict[str, Any] = {"method": "pgd", "norm": "2"}


def norms(values: Tensor) -> Tensor:
    found: Tensor = values.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return found


def over_the_norm(grad: Tensor) -> Tensor:
    return grad / norms(grad)


@pytest.mark.parametrize(("direction", "expected"), [(over_the_norm, ["direction"]), (unit, [])])
def test_a_gradient_of_zero_gives_no_nan(direction: Callable[[Tensor], Tensor], expected: list[str]) -> None:
    found = rf.verify(projected(direction, project=ball), cases=CASES, time_limit=600.0, **L2)
    assert wrong_stages(found) == expected
    assert {one.cause for one in found.wrong_stages} == {"nan-for-zero-gradient" for _ in expected}


def test_nan_at_epsilon_0_is_noted() -> None:
    def to_the_ball(delta: Tensor, radius: float) -> Tensor:
        return delta * (radius / norms(delta)).clamp(max=1)

    found = rf.verify(projected(unit, project=to_the_ball), cases=CASES, time_limit=600.0, **L2)
    assert [one.cause for one in found.harmless] == ["nan-for-zero-epsilon"]
    assert not wrong_stages(found)
    strict = rf.verify(projected(unit, project=to_the_ball), cases=CASES, strict=True, time_limit=600.0, **L2)
    assert strict.verdict == "wrong"


def test_a_budget_of_zero_may_be_refused() -> None:
    def refusing(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if not epsilon:
            raise ValueError("epsilon must be > 0")
        x_adv: Tensor = projected()(model, x, y, epsilon)
        return x_adv

    found = rf.verify(refusing, method="pgd", cases=CASES, time_limit=600.0)
    assert not found.limitations
    assert not wrong_stages(found)


def test_images_that_move_at_epsilon_0_are_wrong() -> None:
    def unprojected(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return (x + max(epsilon, 1e-3) * unit(gradient(model, x, y))).clamp(0, 1)

    found = rf.verify(unprojected, method="fgm", cases=CASES, time_limit=600.0)
    assert [(one.stage, one.cause) for one in found.wrong_stages] == [("size", "wrong-epsilon")]
    assert "at epsilon = 0" in found.wrong_stages[0].text


@pytest.mark.parametrize("method", ["fgsm", "bim"])
def test_another_shape_in_one_call_is_wrong(method: str) -> None:
    def loses_an_image(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv: Tensor = (attack() if method == "fgsm" else projected(size=lambda e: 0.1 * e))(model, x, y, epsilon)
        return x_adv[1:] if len(x) == 6 else x_adv

    found = rf.verify(loses_an_image, method=method, time_limit=600.0)
    assert [(one.stage, one.cause) for one in found.wrong_stages] == [("output", "misaligned-images")]


def test_a_constant_in_the_radius_shows_at_a_small_budget() -> None:
    floored = projected(unit, project=lambda delta, radius: ball(delta, max(radius, 0.01)))
    found = rf.verify(floored, cases=["rows", "size, small"], time_limit=600.0, **L2)
    (reading,) = (one for one in found.stages if one.stage == "steps")
    assert reading.verdict == "wrong"
    assert "2 times epsilon" in reading.text


def test_an_image_without_a_gradient_stays() -> None:
    def moves_all(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        grad = gradient(model, x, y)
        still = grad.flatten(1).abs().amax(1) == 0
        return (x + epsilon * torch.where(still.view(-1, 1, 1, 1), 1.0, grad.sign())).clamp(0, 1)

    found = rf.verify(moves_all)
    assert found.verdict == "wrong"
    assert "zero gradient" in found.summary
