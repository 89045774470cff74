"""Iterates of an attack as the network heard them, whatever part of the batch each pass holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.verification.bench_calls import BenchCall, BenchSettings
from robustbench_fgsm.verification.check_pixels import respond
from robustbench_fgsm.verification.method_bench import build_method_calls
from robustbench_fgsm.verification.methods import parse_method
from robustbench_fgsm.verification.trajectory import Trajectory
from tests.verification.candidates.family import attacks_the_rest, box, gradient, projected


def rows() -> BenchCall:
    return build_method_calls(BenchSettings(), parse_method("pgd"), targeted=False)[0]


def path_of(attack: Callable[..., Any]) -> Trajectory:
    call = rows()
    found = respond(candidate_from_callable(attack), call, call.call.model, call.call.x.clone(), 600.0)
    assert found.path is not None
    return found.path


def one_by_one(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return torch.cat([projected()(model, x[k : k + 1], y[k : k + 1], epsilon) for k in range(len(x))])


def reversed_batch(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    moved: Tensor = projected()(model, x.flip(0), y.flip(0), epsilon)
    return moved.flip(0)


@pytest.mark.parametrize("attack", [one_by_one, reversed_batch])
def test_the_order_of_images_does_not_matter(attack: Callable[..., Any]) -> None:
    whole, other = path_of(projected()), path_of(attack)
    assert torch.equal(whole.counts, other.counts)
    assert float((whole.points - other.points).abs().gt(1e-6).double().mean()) < 0.01


def test_points_begin_at_the_images_and_end_at_the_output() -> None:
    path = path_of(projected())
    assert set(path.counts.tolist()) == {10}
    assert float(path.start.abs().max()) == 0.0
    assert torch.equal(path.followers[:-1], path.points[1:])
    assert torch.equal(path.followers[-1], path.output.float())
    assert torch.equal(path.returned, path.counts)
    assert not path.is_alone


def test_the_gradient_is_that_of_the_network_at_the_point() -> None:
    path = path_of(projected())
    exact = gradient(path.call.model, path.points[3], path.call.y)
    assert torch.allclose(path.gradients[3], exact, rtol=1e-3, atol=1e-5 * float(exact.abs().max()))


def test_images_that_are_left_out_stop() -> None:
    path = path_of(attacks_the_rest)
    assert int(path.counts.min()) < 10
    assert bool(path.fools[-1][path.counts < 10].all())


def test_one_gradient_for_all_steps_is_alone() -> None:
    def once(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        grad = gradient(model, x, y)
        return x + box(10 * 0.25 * epsilon * grad.sign(), epsilon)

    assert path_of(once).is_alone


def test_an_earlier_iterate_is_recognised() -> None:
    def early(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        moved: Tensor = projected(steps=4)(model, x, y, epsilon)
        projected(steps=6, start=lambda _, __: moved)(model, x, y, epsilon)
        return moved

    assert set(path_of(early).returned.tolist()) == {4}
