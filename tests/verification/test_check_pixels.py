"""Right pixels are told from wrong ones as far as float32 decides them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.verification.bench_calls import BenchCall, BenchSettings, build_calls
from robustbench_fgsm.verification.check_pixels import Response, check_pixels, exact_gradient, is_decidable, respond, step_along
from robustbench_fgsm.verification.sandbox import ObservedCall
from tests.verification.conftest import right

UNSEEN = ObservedCall(None, "", "", {}, (), warned=False)


@pytest.fixture(scope="module")
def calls() -> dict[str, BenchCall]:
    return {call.name: call for call in build_calls(BenchSettings(), targeted=True)}


def answer(bench_call: BenchCall, call: Any = right, *, one_image: bool = False) -> Response:
    model, x = copy.deepcopy(bench_call.call.model), bench_call.call.x.clone()
    return respond(candidate_from_callable(call), bench_call, model, x, 60, one_image=one_image)


def test_the_gradient_is_that_of_the_formula(calls: dict[str, BenchCall]) -> None:
    call = calls["rows"].call
    layer: Any = call.model.network.body  # type: ignore[union-attr]
    residual = call.model(call.x).softmax(1) - nn.functional.one_hot(call.y, 10)
    by_hand = torch.einsum("nk,kchw->nchw", residual, layer.weight) / call.std
    torch.testing.assert_close(exact_gradient(call).float(), by_hand.detach(), rtol=1e-3, atol=1e-6)


def test_one_wrong_pixel_is_wrong(calls: dict[str, BenchCall]) -> None:
    images = check_pixels(calls["size"], UNSEEN, calls["size"].call.x).expected.clone()
    assert check_pixels(calls["size"], UNSEEN, images).is_right
    images[3, 1, 4, 5] += 2e-6
    assert check_pixels(calls["size"], UNSEEN, images).wrong.nonzero().tolist() == [[3, 1, 4, 5]]


def test_tiny_gradients_may_underflow(calls: dict[str, BenchCall]) -> None:
    call = calls["tiny"].call
    lost = exact_gradient(call).abs() < 1e-37
    expected = check_pixels(calls["tiny"], UNSEEN, call.x).expected
    response = check_pixels(calls["tiny"], UNSEEN, torch.where(lost, call.x, expected))
    assert response.is_right
    assert "mean-underflow" in response.harmless
    assert not check_pixels(calls["tiny"], UNSEEN, torch.where(lost, call.x - 0.0437, expected)).is_right


def test_only_full_steps_count_for_a_confident_network(calls: dict[str, BenchCall]) -> None:
    call = calls["confident network"].call
    gradient = exact_gradient(call)
    assert check_pixels(calls["confident network"], UNSEEN, step_along(call, -gradient.sign())).is_right
    assert not check_pixels(calls["confident network"], UNSEEN, step_along(call, 0.5 * gradient.sign())).is_right


def test_targets_are_descended(calls: dict[str, BenchCall]) -> None:
    call = calls["targeted"].call
    moved = check_pixels(calls["targeted"], UNSEEN, call.x).expected - call.x
    gradient = exact_gradient(call)
    counts = is_decidable(gradient) & (gradient != 0)
    assert torch.equal(moved.sign()[counts], -gradient.sign().float()[counts])


def test_hears_one_image_at_a_time_and_another_order(calls: dict[str, BenchCall]) -> None:
    def one_by_one(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return torch.cat([right(model, x[k : k + 1], y[k : k + 1], epsilon) for k in range(len(x))])

    def backwards(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return right(model, x.flip(0), y.flip(0), epsilon).flip(0)

    for call in (right, one_by_one, backwards):
        response = answer(calls["rows"], call)
        assert response.is_right
        (heard,) = response.gradient_rounds
        assert heard.logit_gradient is not None
        negative = heard.logit_gradient.argmin(1)
        assert torch.equal(negative, calls["rows"].call.y)
        assert torch.equal(response.starting_points, calls["rows"].call.x)


def test_runs_one_image_at_a_time(calls: dict[str, BenchCall]) -> None:
    sizes = []

    def single(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        sizes.append(len(x))
        return right(model, x, y, epsilon)

    response = answer(calls["rows"], single, one_image=True)
    assert response.is_right
    assert set(sizes) == {1}
    assert len(response.gradient_rounds) == 1


@pytest.mark.parametrize(
    ("returned", "failure"),
    [
        (lambda x: (x, x), "must return a tensor or an array"),
        (lambda x: x[:2], "must return images"),
        (lambda x: (x * 255).to(torch.uint8), "floating point"),
        (lambda x: x.numpy() * np.float32("nan"), "finite images"),
    ],
)
def test_names_what_is_no_batch_of_images(calls: dict[str, BenchCall], returned: Any, failure: str) -> None:
    response = answer(calls["rows"], lambda model, x, y, epsilon: returned(x))
    assert response.images is None
    assert failure in response.observed.failure


def test_first_images_alone(calls: dict[str, BenchCall]) -> None:
    response = answer(calls["rows"])
    part = response.first(3)
    assert part.images is not None
    assert response.images is not None
    assert torch.equal(part.images, response.images[:3])
    assert (len(part.call.x), part.gradient_rounds) == (3, [])
    assert replace(part, wrong=torch.ones_like(part.wrong)).is_right is False
