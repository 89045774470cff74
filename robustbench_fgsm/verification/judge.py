"""Whether adversarial images are right: pixel by pixel, where float32 can tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.losses import stable_cross_entropy
from robustbench_fgsm.spec import TOLERANCE
from robustbench_fgsm.variants.attack_call import Scene
from robustbench_fgsm.variants.recipe import Kitchen, Recipe
from robustbench_fgsm.verification.cases import Rule

UNDECIDED = 1e-5
"""A gradient smaller than this share of the largest of its image has a sign that rounding may decide."""

RIGHT = Recipe()


@dataclass(frozen=True)
class Judgement:
    """What is right, and what is not.

    expected: the right images. decided: pixels (N, C, H, W) on which float32 can tell. wrong: those of them that are not
    right. doubts: ids of harmless mistakes that were seen instead, and the evidence.
    """

    expected: Tensor
    decided: Tensor
    wrong: Tensor
    doubts: dict[str, str]


def judge(kitchen: Kitchen, scene: Scene, images: Tensor, rule: Rule = "exact", *, warned: bool = False) -> Judgement:
    """Judge images for a scene.

    warned: whether a Python warning came with them, which is all that a function can say of an image without a finite
    gradient.
    """
    expected = kitchen.recall(scene, RIGHT)
    if rule == "saturated":
        return _saturated(kitchen, scene, images)
    if rule == "faint":
        return _faint(kitchen, scene, images, expected)
    decided = sure(kitchen, scene)
    doubts = {}
    if rule == "not finite":
        lost = ~kitchen.gradient(scene, RIGHT).flatten(1).isfinite().all(1)
        decided = decided & ~lost.view(-1, 1, 1, 1)
        if not warned and bool(images[lost].isfinite().all()):
            doubts["nan-hidden"] = (
                f"{int(lost.sum())} of {len(lost)} images have a gradient that is not finite, "
                "and come back without NaN, warning or error"
            )
    wrong = decided & ~((images - expected).abs() <= TOLERANCE)
    return Judgement(expected, decided, wrong, doubts)


def sure(kitchen: Kitchen, scene: Scene) -> Tensor:
    """Pixels (N, C, H, W) whose gradient is exactly zero, or large enough in float64 that rounding does not decide its sign."""
    return _decided(kitchen.exact_gradient(scene))


def _decided(gradient: Tensor) -> Tensor:
    magnitude = gradient.abs()
    largest = magnitude.flatten(1).amax(1).view(-1, 1, 1, 1)
    return (magnitude == 0) | (magnitude > UNDECIDED * largest)


def _moves(scene: Scene, images: Tensor, sign: Tensor) -> Tensor:
    """Pixels (N, C, H, W) that are where a step along these signs puts them."""
    return (images - (scene.x + scene.epsilon * sign).clamp(*scene.bounds)).abs() <= TOLERANCE


def _saturated(kitchen: Kitchen, scene: Scene, images: Tensor) -> Judgement:
    """Float32 signs are chance here, so any step of epsilon will do; the exact ones are looked at in doubt."""
    gradient = kitchen.exact_gradient(scene, stable_cross_entropy)
    sign, decided = gradient.sign().float(), _decided(gradient)
    right, other, none = (_moves(scene, images, k * sign) for k in (1, -1, 0))
    doubts = {}
    if bool((decided & ~right).any()):
        doubts["saturation-cancellation"] = (
            f"{int((decided & ~right).sum()):,} of {int(decided.sum()):,} pixels do not go where exact arithmetic sends them"
        )
    expected = (scene.x + scene.epsilon * sign).clamp(*scene.bounds)
    return Judgement(expected, torch.ones_like(right), ~(right | other | none), doubts)


def _faint(kitchen: Kitchen, scene: Scene, images: Tensor, summed: Tensor) -> Judgement:
    """A pixel that did not move is in doubt here: its gradient may have underflowed. Exact arithmetic moves all of them."""
    exact = _moves(scene, images, kitchen.exact_gradient(scene).sign().float())
    right, unmoved = (images - summed).abs() <= TOLERANCE, (images - scene.x).abs() <= TOLERANCE
    lost, wrong = unmoved & ~right, ~(right | exact | unmoved)
    doubts = {}
    if bool(lost.any()):
        doubts["mean-underflow"] = (
            f"{int(lost.sum()):,} of {lost.numel():,} pixels do not move, whose gradient a mean over the batch rounds to 0"
        )
    return Judgement(summed, right | wrong, wrong, doubts)
