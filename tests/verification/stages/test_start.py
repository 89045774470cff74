"""Where an attack starts: distribution and radius of the first points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.verification.bench_calls import BenchSettings
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.method_bench import build_method_calls
from robustbench_fgsm.verification.methods import parse_method
from robustbench_fgsm.verification.stage_result import StageResult
from robustbench_fgsm.verification.stages.start import read_start
from robustbench_fgsm.verification.verify import run_calls
from tests.verification.candidates.family import ball, from_one_corner, in_ball, in_box, on_sphere, projected, unit

NAMES = ("rows", "rows, other images", "rows, repeated", "rows, repeated at once", "rows, other seed", "rows, third seed")


def start_of(
    start: Callable[[Tensor, float], Tensor],
    norm: str = "inf",
    project: Callable[[Tensor, float], Tensor] | None = None,
    names: tuple[str, ...] = NAMES,
) -> StageResult:
    method = parse_method("pgd", norm, 1, start=True)
    attack: Any = projected(unit, project=project or ball, start=start, steps=1)
    calls = build_method_calls(BenchSettings(), method, targeted=False)
    return read_start(
        method, Evidence.of(run_calls(candidate_from_callable(attack), [one for one in calls if one.name in names], 600.0))
    )


def normal(x: Tensor, epsilon: float) -> Tensor:
    return x + (0.3 * epsilon * torch.randn_like(x)).clamp(-epsilon, epsilon)


@pytest.mark.parametrize(
    ("start", "norm", "cause"),
    [
        (in_box, "inf", None),
        (lambda x, epsilon: x, "inf", "random-start-unused"),
        (lambda x, epsilon: in_box(x, epsilon / 2), "inf", "start-in-wrong-ball"),
        (lambda x, epsilon: x + epsilon * torch.randn_like(x).sign(), "inf", "start-in-wrong-ball"),
        (lambda x, epsilon: x + epsilon * torch.rand_like(x), "inf", "start-in-wrong-ball"),
        (lambda x, epsilon: x + epsilon * (2 * torch.rand_like(x[:1]) - 1), "inf", "start-in-wrong-ball"),
        (normal, "inf", "start-in-wrong-ball"),
        (in_ball, "2", None),
        (from_one_corner, "inf", "start-in-wrong-ball"),
        (lambda x, epsilon: on_sphere(x, 0.95 * epsilon), "2", "start-in-wrong-ball"),
        (lambda x, epsilon: x + epsilon * torch.rand(len(x), 1, 1, 1) * unit(torch.randn_like(x)), "2", None),
        (on_sphere, "2", "start-on-sphere"),
        (in_box, "2", "start-in-wrong-ball"),
        (lambda x, epsilon: in_ball(x, epsilon / 2), "2", "start-in-wrong-ball"),
    ],
)
def test_starts(start: Callable[[Tensor, float], Tensor], norm: str, cause: str | None) -> None:
    found = start_of(start, norm)
    assert (found.verdict, found.cause) == ("wrong" if cause else "ok", cause), found.text


def test_the_radius_is_a_number() -> None:
    assert start_of(lambda x, epsilon: in_box(x, epsilon / 2)).measured["radius"] == pytest.approx(0.5, rel=0.01)
    assert start_of(on_sphere, "2").measured["radius"] == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("start", [in_ball, on_sphere])
def test_one_start_does_not_tell_the_ball_from_its_surface(start: Callable[[Tensor, float], Tensor]) -> None:
    found = start_of(start, "2", names=("rows, one image",))
    assert found.verdict == "unmeasured", found.text


def test_points_that_are_uniform_in_the_ball_are_told_from_points_inside() -> None:
    assert start_of(in_ball, "2").text.startswith("uniform in the ball")
    near = start_of(lambda x, epsilon: x + epsilon * (0.99 + 0.01 * torch.rand(len(x), 1, 1, 1)) * unit(torch.randn_like(x)), "2")
    assert near.text.startswith("inside the ball")
