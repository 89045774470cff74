"""Direction and size of the steps of an attack, at several budgets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from robustbench_fgsm.verification.methods import parse_method
from robustbench_fgsm.verification.stages.step_size import read_step_direction, read_step_size
from tests.verification.candidates.family import ball, projected, unit
from tests.verification.conftest import measured_iterates

BUDGETS = ("rows, other images", "size, large")


@pytest.mark.parametrize(
    ("size", "stated", "cause", "text"),
    [
        (lambda epsilon: 0.25 * epsilon, "", None, "0.25 times epsilon a step"),
        (lambda epsilon: 0.252 * epsilon, "", "wrong-step-size", "0.252 times epsilon a step"),
        (lambda epsilon: 0.24999 * epsilon, "", None, "0.25 times epsilon a step"),
        (lambda _: 2 / 255, "2/255", None, "0.00784 a step"),
        (lambda _: 2 / 255, "", "wrong-step-size", "0.007843 for every epsilon a step"),
        (lambda epsilon: epsilon / 4, "2/255", "wrong-step-size", "0.25 times epsilon a step"),
        (lambda _: 0.0, "", "no-op", "0: no step moves a pixel"),
        (lambda epsilon: 3 * epsilon, "3", None, "at least 2 times epsilon a step: every step ends at the surface of the ball"),
        (lambda _: 0.1, "25.5/255", None, "0.1 a step"),
        (lambda _: 2.0, "2/255", "wrong-step-size", "at least 2 times epsilon a step: every step ends at the surface of the ball"),
    ],
)
def test_sizes(size: Callable[[float], float], stated: str, cause: str | None, text: str) -> None:
    found = read_step_size(measured_iterates(projected(size=size), parse_method("pgd", step_size=stated), *BUDGETS))
    assert (found.verdict, found.cause, found.text) == ("wrong" if cause else "ok", cause, text)


def test_a_size_in_the_units_of_normalised_images_differs_by_channel() -> None:
    def normalised(model: object, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        std = model.broadcast_statistics(x)[1]  # type: ignore[attr-defined]
        attack: Tensor = projected(lambda grad: grad.sign() * std)(model, x, y, epsilon)
        return attack

    found = read_step_size(measured_iterates(normalised, parse_method("pgd"), *BUDGETS, "normalised"))
    assert found.cause == "normalised-epsilon"
    assert found.measured["by_channel"] == pytest.approx([0.229, 0.224, 0.225], rel=1e-3)


@pytest.mark.parametrize(
    ("direction", "norm", "cause"),
    [
        (lambda grad: grad.sign(), "inf", None),
        (lambda grad: -grad.sign(), "inf", "wrong-sign"),
        (lambda grad: 10 * grad, "inf", "raw-gradient"),
        (unit, "2", None),
        (lambda grad: grad.sign() / 50, "2", "wrong-norm"),
        (lambda grad: grad / grad.norm(), "2", "batch-coupled"),
    ],
)
def test_directions(direction: Callable[[Tensor], Tensor], norm: str, cause: str | None) -> None:
    attack = projected(direction, project=ball) if norm == "2" else projected(direction)
    found = read_step_direction(measured_iterates(attack, parse_method("pgd", norm), "magnitudes"))
    assert (found.verdict, found.cause) == ("wrong" if cause else "ok", cause), found.text
    if cause in ("raw-gradient", "wrong-norm"):
        assert found.remedy == (
            "divide each image's gradient by its L2 norm before the step" if norm == "2" else "step along gradient.sign()"
        )
