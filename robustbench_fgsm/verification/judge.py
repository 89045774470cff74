"""Whether adversarial images are right: pixel by pixel, where float32 can tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.losses import stable_cross_entropy
from robustbench_fgsm.spec import AGREEMENT_TOLERANCE
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.recipe import AttackRecipe, RecipeRunner
from robustbench_fgsm.verification.cases import JudgingRule

UNDECIDABLE_SHARE = 1e-5
"""A gradient smaller than this share of the largest of its image has a sign that rounding may decide."""

CORRECT_RECIPE = AttackRecipe()


@dataclass(frozen=True)
class Judgement:
    """What is right, and what is not.

    expected: the right images. decided: pixels (N, C, H, W) on which float32 can tell. wrong: those of them that are not
    right. doubts: ids of harmless mistakes that were seen instead, and the evidence.
    """

    expected: Tensor
    decidable: Tensor
    wrong: Tensor
    harmless_mistakes: dict[str, str]


def judge_images(
    recipe_runner: RecipeRunner, attack_call: AttackCall, images: Tensor, rule: JudgingRule = "exact", *, warned: bool = False
) -> Judgement:
    """Judge images for a scene.

    warned: whether a Python warning came with them, which is all that a function can say of an image without a finite
    gradient.
    """
    expected = recipe_runner.cached(attack_call, CORRECT_RECIPE)
    if rule == "saturated":
        return _judge_saturated(recipe_runner, attack_call, images)
    if rule == "faint":
        return _judge_faint(recipe_runner, attack_call, images, expected)
    decided = decidable_pixels(recipe_runner, attack_call)
    doubts = {}
    if rule == "not finite":
        lost = ~recipe_runner.cached_gradient(attack_call, CORRECT_RECIPE).flatten(1).isfinite().all(1)
        decided = decided & ~lost.view(-1, 1, 1, 1)
        if not warned and bool(images[lost].isfinite().all()):
            doubts["nan-hidden"] = (
                f"{int(lost.sum())} of {len(lost)} images have a gradient that is not finite, "
                "and come back without NaN, warning or error"
            )
    wrong = decided & ~((images - expected).abs() <= AGREEMENT_TOLERANCE)
    return Judgement(expected, decided, wrong, doubts)


def decidable_pixels(recipe_runner: RecipeRunner, attack_call: AttackCall) -> Tensor:
    """Pixels (N, C, H, W) whose gradient is exactly zero, or large enough in float64 that rounding does not decide its sign."""
    return _is_decidable(recipe_runner.float64_gradient(attack_call))


def _is_decidable(gradient: Tensor) -> Tensor:
    magnitude = gradient.abs()
    largest = magnitude.flatten(1).amax(1).view(-1, 1, 1, 1)
    return (magnitude == 0) | (magnitude > UNDECIDABLE_SHARE * largest)


def _follows_sign(attack_call: AttackCall, images: Tensor, sign: Tensor) -> Tensor:
    """Pixels (N, C, H, W) that are where a step along these signs puts them."""
    return (images - (attack_call.x + attack_call.epsilon * sign).clamp(*attack_call.bounds)).abs() <= AGREEMENT_TOLERANCE


def _judge_saturated(recipe_runner: RecipeRunner, attack_call: AttackCall, images: Tensor) -> Judgement:
    """Float32 signs are chance here, so any step of epsilon will do; the exact ones are looked at in doubt."""
    gradient = recipe_runner.float64_gradient(attack_call, stable_cross_entropy)
    sign, decided = gradient.sign().float(), _is_decidable(gradient)
    right, other, none = (_follows_sign(attack_call, images, k * sign) for k in (1, -1, 0))
    doubts = {}
    if bool((decided & ~right).any()):
        doubts["saturation-cancellation"] = (
            f"{int((decided & ~right).sum()):,} of {int(decided.sum()):,} pixels do not go where exact arithmetic sends them"
        )
    expected = (attack_call.x + attack_call.epsilon * sign).clamp(*attack_call.bounds)
    return Judgement(expected, torch.ones_like(right), ~(right | other | none), doubts)


def _judge_faint(recipe_runner: RecipeRunner, attack_call: AttackCall, images: Tensor, expected: Tensor) -> Judgement:
    """A pixel that did not move is in doubt here: its gradient may have underflowed. Exact arithmetic moves all of them."""
    exact = _follows_sign(attack_call, images, recipe_runner.float64_gradient(attack_call).sign().float())
    right, unmoved = (images - expected).abs() <= AGREEMENT_TOLERANCE, (images - attack_call.x).abs() <= AGREEMENT_TOLERANCE
    lost, wrong = unmoved & ~right, ~(right | exact | unmoved)
    doubts = {}
    if bool(lost.any()):
        doubts["mean-underflow"] = (
            f"{int(lost.sum()):,} of {lost.numel():,} pixels do not move, whose gradient a mean over the batch rounds to 0"
        )
    return Judgement(expected, right | wrong, wrong, doubts)
