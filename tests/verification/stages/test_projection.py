"""Number of steps, where each starts, and the ball that it is projected to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robustbench_fgsm.verification.methods import Method, parse_method
from robustbench_fgsm.verification.stages.projection import read_projection
from tests.verification.candidates.family import box, first_gradient, last_update_lost, momentum, projected
from tests.verification.conftest import measured_iterates

PGD, BIM, MI = parse_method("pgd"), parse_method("bim"), parse_method("mi-fgsm")


@pytest.mark.parametrize(
    ("attack", "method", "cause", "text"),
    [
        (projected(), PGD, None, "10, each from the last iterate; projected to the Linf ball around the image"),
        (projected(steps=9), PGD, "wrong-step-count", "9 steps"),
        (projected(steps=12), PGD, "wrong-step-count", "12 steps"),
        (last_update_lost, BIM, "wrong-step-count", "9 steps: the last of 10 gradients is not used"),
        (first_gradient, PGD, "iterates-on-first-gradient", "the gradient is taken at one point only, again and again"),
        (
            projected(project=lambda delta, epsilon: box(delta, epsilon / 2)),
            PGD,
            "wrong-ball",
            "the ball has a radius of 0.5 times epsilon",
        ),
        (momentum(decay=0.5), MI, "wrong-momentum", "the momentum decays by 0.5, not by 1"),
        (projected(size=lambda epsilon: epsilon / 10), MI, "wrong-momentum", "the direction is that of the last gradient alone"),
    ],
)
def test_steps(attack: Callable[..., Any], method: Method, cause: str | None, text: str) -> None:
    found = read_projection(measured_iterates(attack, method))
    assert (found.verdict, found.cause, found.text) == ("wrong" if cause else "ok", cause, text)


def test_the_distance_is_a_number() -> None:
    found = read_projection(measured_iterates(projected(project=lambda delta, _: delta), PGD))
    assert found.measured["reach"] == pytest.approx(2.5, rel=1e-3)
    assert found.measured["gradients"] == 10


def test_a_rule_without_a_name_is_told_by_its_share() -> None:
    found = read_projection(measured_iterates(projected(lambda grad: grad.sign() * grad.abs().sqrt()), PGD))
    assert (found.verdict, found.cause) == ("wrong", None)
    assert "no known rule leads from an iterate to the next" in found.text
