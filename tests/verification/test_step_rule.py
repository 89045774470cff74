"""The rule from one iterate to the next: parts that are exchanged are found, with the size of the step as a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robustbench_fgsm.verification.methods import Method, parse_method
from robustbench_fgsm.verification.step_rule import MIN_MATCH, PARTS, StepRule, find_rule, fit_rule, floored, rule_of
from tests.verification.candidates.family import above, ball, box, momentum, over, projected, unit
from tests.verification.test_trajectory import path_of

PGD, L2, MI = parse_method("pgd"), parse_method("pgd", 2), parse_method("mi-fgsm")


@pytest.mark.parametrize(
    ("attack", "method", "deviations"),
    [
        (projected(), PGD, []),
        (projected(unit, project=ball), PGD, ["direction", "centre"]),
        (projected(project=lambda delta, epsilon: delta), PGD, ["centre"]),
        (projected(project=lambda delta, epsilon: box(delta, 0.7 * epsilon)), PGD, ["radius"]),
        (momentum(), MI, []),
        (momentum(decay=0.3), MI, ["decay"]),
        (momentum(lambda grad: grad), MI, ["sum"]),
    ],
)
def test_exchanged_parts_are_found(attack: Callable[..., Any], method: Method, deviations: list[str]) -> None:
    found = find_rule(path_of(attack), method)
    assert found.inner_share > MIN_MATCH or deviations == ["direction", "centre"]
    assert found.rule.deviations(rule_of(method)) == deviations or found.inner_share <= MIN_MATCH


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 1.3])
def test_the_size_is_measured(share: float) -> None:
    path = path_of(projected(size=lambda epsilon: share * epsilon))
    found = fit_rule(path, PGD, StepRule())
    assert found.size == pytest.approx(share * path.call.epsilon, rel=1e-4)
    assert not found.is_least


def test_a_step_that_always_ends_at_the_surface_has_a_lower_bound() -> None:
    path = path_of(projected(size=lambda _: 3.0))
    found = fit_rule(path, PGD, StepRule())
    assert found.is_least
    assert found.size == pytest.approx(2 * path.call.epsilon, rel=1e-3)


def test_the_size_of_a_projected_step_in_l2_is_that_before_the_projection() -> None:
    path = path_of(projected(unit, lambda epsilon: 3 * epsilon, ball))
    assert fit_rule(path, L2, rule_of(L2)).size == pytest.approx(3 * path.call.epsilon, rel=1e-2)


def test_the_way_is_that_of_the_loss() -> None:
    assert fit_rule(path_of(projected()), PGD, StepRule()).way == 1
    assert fit_rule(path_of(projected(lambda grad: -grad.sign())), PGD, StepRule()).way == -1


def test_the_first_choice_of_each_part_is_the_default() -> None:
    assert all(getattr(StepRule(), part) == choices[0] for part, choices in PARTS.items())


@pytest.mark.parametrize(("is_least", "floor"), [(False, 1e-10), (False, 1e-3), (True, 1e-7), (True, 1e-5)])
def test_the_floor_of_a_norm_is_measured(is_least: bool, floor: float) -> None:
    attack = projected(over(lambda norm: norm.clamp_min(floor) if is_least else norm + floor), project=ball)
    found = find_rule(path_of(attack), L2)
    assert found.inner_share > MIN_MATCH
    assert found.rule.floor == pytest.approx(floor, rel=1e-2)
    assert found.rule.floor_is_least == is_least


def test_steps_of_a_norm_without_a_floor_show_none() -> None:
    assert floored(path_of(projected(unit, project=ball)), L2, rule_of(L2)) == []


def test_a_threshold_of_the_sign_lies_between_pixels_that_move_and_pixels_that_stand_still() -> None:
    path = path_of(projected(above(1e-3)))
    (found,) = floored(path, PGD, StepRule())
    assert found.floor == pytest.approx(1e-3, rel=0.1)
    assert fit_rule(path, PGD, found).inner_share > MIN_MATCH
    assert floored(path_of(projected()), PGD, StepRule()) == []
