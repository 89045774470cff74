"""What the calls of an attack show together: the rule of its steps, which iterate comes back, and what stops early."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from robustbench_fgsm.verification.iterates import carries_over, climbs, least_match, moves, reach, returned_iterates, stops_early
from robustbench_fgsm.verification.methods import parse_method
from tests.verification.candidates.family import (
    ball,
    ball_around_the_iterate,
    clips_before_projection,
    gradient,
    momentum,
    projected,
    stops_all,
    unit,
)
from tests.verification.conftest import measured_iterates

PGD = parse_method("pgd")


def test_a_right_attack_is_explained() -> None:
    seen = measured_iterates(projected(), PGD)
    assert seen.is_explained
    assert not seen.deviations
    assert not seen.is_alone
    assert moves(seen)
    assert climbs(seen.main, seen.found)
    assert reach(PGD, seen.main) == pytest.approx(1.0, rel=1e-4)
    assert bool((returned_iterates(seen.main, seen.found) == 10).all())


def test_the_reach_is_that_of_the_images() -> None:
    assert reach(PGD, measured_iterates(ball_around_the_iterate, PGD).main) == pytest.approx(2.5, rel=1e-3)


def test_a_descent_does_not_climb() -> None:
    seen = measured_iterates(projected(lambda grad: -grad.sign()), PGD)
    assert not climbs(seen.main, seen.found)


def test_the_clip_that_stands_first_is_found_at_the_bounds() -> None:
    seen = measured_iterates(clips_before_projection, parse_method("pgd", 2), "levels")
    assert seen.fits["levels"].rule.clip == "before"


def clips_before_with_steps_of_one_length(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(14):
        moved = (x_adv + 0.1 * unit(gradient(model, x_adv, y))).clamp(0, 1)
        x_adv = x + ball(moved - x, epsilon)
    return x_adv


@pytest.mark.parametrize(
    ("attack", "order"),
    [(clips_before_with_steps_of_one_length, "before"), (projected(unit, lambda _: 0.1, ball, steps=14), "after")],
)
def test_steps_that_meet_bounds_and_ball_on_one_network_only(attack: Callable[..., Tensor], order: str) -> None:
    """The wide ball of the call `levels` is out of their reach."""
    method = parse_method("pgd", 2, 14, "25.5/255")
    seen = measured_iterates(attack, method, "levels", "transformer")
    assert all(fit.inner_share >= least_match(seen.paths[name]) for name, fit in seen.fits.items())
    assert {fit.rule.clip for fit in seen.fits.values()} == {order}


def test_momentum_of_an_earlier_batch_carries_over() -> None:
    method = parse_method("mi-fgsm")
    for memory, expected in ((None, False), ({}, True)):
        seen = measured_iterates(momentum(memory=memory), method, "rows, other images")
        assert carries_over(seen, "rows, other images") is expected


def test_a_batch_that_stops_with_its_first_image_stops_early() -> None:
    names = ("rows, other images", "rows, one image")
    assert stops_early(measured_iterates(stops_all, PGD, *names))
    assert not stops_early(measured_iterates(projected(), PGD, *names))
