"""Pixels are judged by hand on a linear network, and by rule on networks where float32 cannot decide."""

from __future__ import annotations

import pytest
import torch

from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.recipe import CORRECT_RECIPE, RecipeRunner
from robustbench_fgsm.verification.cases import CASES, Case
from robustbench_fgsm.verification.judge import JudgedCall, is_decidable, judge_images

RUNNER = RecipeRunner()


@pytest.fixture(scope="module")
def call() -> AttackCall:
    return CASES["colour"]().calls[0]


def correct(case: Case) -> JudgedCall:
    (call, *_) = case.calls
    return judge_images(RUNNER, call, RUNNER.run(call, CORRECT_RECIPE), case.rule)


@pytest.mark.parametrize("name", ["grey", "colour", "saturated", "faint", "not-finite"])
def test_correct_images_are_right(name: str) -> None:
    assert not correct(CASES[name]()).any_wrong


def test_one_moved_pixel_is_wrong(call: AttackCall) -> None:
    images = RUNNER.run(call, CORRECT_RECIPE)
    images[2, 1, 3, 4] += 0.01
    judged = judge_images(RUNNER, call, images)
    assert judged.wrong.nonzero().tolist() == [[2, 1, 3, 4]]
    assert judged.largest_error == pytest.approx(0.01, rel=1e-3)


def test_nan_is_wrong(call: AttackCall) -> None:
    images = RUNNER.run(call, CORRECT_RECIPE)
    images[0, 0, 0, 0] = float("nan")
    assert int(judge_images(RUNNER, call, images).wrong.sum()) == 1


def test_decidable_gradients_are_zero_or_large() -> None:
    gradient = torch.tensor([[0.0, 1.0, 1e-4, 1e-6]]).view(1, 1, 1, 4)
    assert is_decidable(gradient).flatten().tolist() == [True, True, True, False]


def test_saturated_accepts_every_step_of_epsilon() -> None:
    case = CASES["saturated"]()
    call = case.calls[0]
    sign = (correct(case).expected - call.x).sign()
    opposite = judge_images(RUNNER, call, (call.x - call.epsilon * sign).clamp(0, 1), case.rule)
    assert not opposite.any_wrong
    assert list(opposite.harmless_mistakes) == ["saturation-cancellation"]
    assert judge_images(RUNNER, call, call.x + 0.01, case.rule).any_wrong


def test_faint_accepts_unmoved_pixels() -> None:
    case = CASES["faint"]()
    judged = judge_images(RUNNER, case.calls[0], case.calls[0].x, case.rule)
    assert not judged.any_wrong
    assert list(judged.harmless_mistakes) == ["mean-underflow"]


@pytest.mark.parametrize("warned", [True, False])
def test_nonfinite_gradient_needs_a_report(warned: bool) -> None:
    case = CASES["not-finite"]()
    images = RUNNER.run(case.calls[0], CORRECT_RECIPE).nan_to_num()
    judged = judge_images(RUNNER, case.calls[0], images, case.rule, warned=warned)
    assert list(judged.harmless_mistakes) == ([] if warned else ["nan-hidden"])


def test_facts_about_images(call: AttackCall) -> None:
    right = judge_images(RUNNER, call, RUNNER.run(call, CORRECT_RECIPE))
    half = judge_images(RUNNER, call, call.x + (right.images - call.x) / 2)
    clean = judge_images(RUNNER, call, call.x)
    assert [judged.has_full_steps for judged in (right, half, clean)] == [True, False, True]
    assert [judged.any_pixel_moved for judged in (right, half, clean)] == [True, True, False]
    assert [judged.within_budget for judged in (right, half, clean)] == [True, True, True]
    assert not judge_images(RUNNER, call, call.x + 0.5).within_budget
    assert [judge_images(RUNNER, call, images).is_8_bit for images in (call.x, (call.x * 255).round() / 255)] == [False, True]
