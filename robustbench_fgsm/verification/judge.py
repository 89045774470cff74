"""Decide, pixel by pixel, whether adversarial images are correct, as far as float32 can decide it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustbench_fgsm.attack.losses import stable_cross_entropy
from robustbench_fgsm.spec import AGREEMENT_TOLERANCE
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.recipe import CORRECT_RECIPE, RecipeRunner
from robustbench_fgsm.verification.cases import JudgingRule

UNDECIDABLE_SHARE = 1e-5
"""Rounding may decide the sign of a gradient below this share of the largest gradient of its image."""

MIN_EXPLAINED_SHARE = 0.98
"""Share of the pixels that must fit before a mistake, or a full step, is named."""

MAX_ROUNDING_PIXELS = 2
"""Pixels of one call whose sign rounding may decide."""


@dataclass(frozen=True)
class JudgedCall:
    """One call, the images (N, C, H, W) that came back, the correct images, and the pixels that are decidable and wrong.

    harmless_mistakes: ids of the harmless mistakes that the images show, each with its evidence. forward_pass_count: 0 if
    unknown.
    """

    call: AttackCall
    images: Tensor
    expected: Tensor
    decidable: Tensor
    wrong: Tensor
    harmless_mistakes: dict[str, str]
    forward_pass_count: int = 0

    @property
    def any_wrong(self) -> bool:
        """Return True if a pixel is wrong."""
        return bool(self.wrong.any())

    @property
    def within_budget(self) -> bool:
        """Return True if the images keep to epsilon and the bounds, which is all that holds for a random start."""
        low, high = self.call.bounds
        inside = (self.images >= low - AGREEMENT_TOLERANCE) & (self.images <= high + AGREEMENT_TOLERANCE)
        return bool((inside & (self._distance_moved <= self.call.epsilon + AGREEMENT_TOLERANCE)).all())

    @cached_property
    def is_8_bit(self) -> bool:
        """Return True if every pixel is a multiple of 1/255."""
        levels = self.images * 255
        return bool((levels - levels.round()).abs().le(255 * AGREEMENT_TOLERANCE).all())

    @cached_property
    def has_full_steps(self) -> bool:
        """Return True if pixels moved by epsilon, or to a bound, or not at all."""
        moved, (low, high) = self._distance_moved, self.call.bounds
        full = ((moved - self.call.epsilon).abs() <= AGREEMENT_TOLERANCE) | (moved <= AGREEMENT_TOLERANCE)
        full |= (self.images - low).abs().minimum((self.images - high).abs()) <= AGREEMENT_TOLERANCE
        count = int((full & self.decidable).sum())
        return count >= MIN_EXPLAINED_SHARE * int(self.decidable.sum()) - MAX_ROUNDING_PIXELS

    @cached_property
    def any_pixel_moved(self) -> bool:
        """Return True if a decidable pixel moved."""
        return bool((self._distance_moved > AGREEMENT_TOLERANCE)[self.decidable].any())

    @property
    def largest_error(self) -> float:
        """Return the largest distance of a wrong pixel from the correct pixel."""
        return float((self.images - self.expected)[self.wrong].abs().max())

    @property
    def _distance_moved(self) -> Tensor:
        return (self.images - self.call.x).abs()


def judge_images(
    recipe_runner: RecipeRunner, call: AttackCall, images: Tensor, rule: JudgingRule = "exact", *, warned: bool = False
) -> JudgedCall:
    """Judge the images (N, C, H, W) that a call returned.

    warned: whether the call gave a Python warning, which is enough to report an image without a finite gradient.
    """
    if rule == "saturated":
        return _judge_saturated(recipe_runner, call, images)
    expected = recipe_runner.cached(call, CORRECT_RECIPE)
    if rule == "faint":
        return _judge_faint(recipe_runner, call, images, expected)
    decidable, harmless = is_decidable(recipe_runner.float64_gradient(call)), {}
    if rule == "not finite":
        lost = ~recipe_runner.cached_gradient(call, CORRECT_RECIPE).flatten(1).isfinite().all(1)
        decidable = decidable & ~lost.view(-1, 1, 1, 1)
        if not warned and bool(images[lost].isfinite().all()):
            harmless["nan-hidden"] = (
                f"{int(lost.sum())} of {len(lost)} images have a gradient that is not finite, "
                "and come back without NaN, warning or error"
            )
    return JudgedCall(call, images, expected, decidable, decidable & ~_equal(images, expected), harmless)


def is_decidable(gradient: Tensor) -> Tensor:
    """Return the pixels whose gradient (N, C, H, W) is zero, or so large that rounding does not decide its sign."""
    magnitude = gradient.abs()
    largest = magnitude.flatten(1).amax(1).view(-1, 1, 1, 1)
    return (magnitude == 0) | (magnitude > UNDECIDABLE_SHARE * largest)


def _equal(images: Tensor, expected: Tensor) -> Tensor:
    return (images - expected).abs() <= AGREEMENT_TOLERANCE


def _step_along(call: AttackCall, sign: Tensor) -> Tensor:
    return (call.x + call.epsilon * sign).clamp(*call.bounds)


def _judge_saturated(recipe_runner: RecipeRunner, call: AttackCall, images: Tensor) -> JudgedCall:
    """Accept any step of epsilon, because float32 signs are chance here; other signs than the exact ones are harmless."""
    gradient = recipe_runner.float64_gradient(call, stable_cross_entropy)
    sign, decidable = gradient.sign().float(), is_decidable(gradient)
    right, opposite, unmoved = (_equal(images, _step_along(call, k * sign)) for k in (1, -1, 0))
    harmless = {}
    if bool((decidable & ~right).any()):
        harmless["saturation-cancellation"] = (
            f"{int((decidable & ~right).sum()):,} of {int(decidable.sum()):,} pixels do not go where exact arithmetic sends them"
        )
    wrong = ~(right | opposite | unmoved)
    return JudgedCall(call, images, _step_along(call, sign), torch.ones_like(right), wrong, harmless)


def _judge_faint(recipe_runner: RecipeRunner, call: AttackCall, images: Tensor, expected: Tensor) -> JudgedCall:
    """Accept pixels that did not move, because their gradient may underflow here, and report them as harmless."""
    exact = _equal(images, _step_along(call, recipe_runner.float64_gradient(call).sign().float()))
    right, unmoved = _equal(images, expected), _equal(images, call.x)
    lost, wrong = unmoved & ~right, ~(right | exact | unmoved)
    harmless = {}
    if bool(lost.any()):
        harmless["mean-underflow"] = (
            f"{int(lost.sum()):,} of {lost.numel():,} pixels do not move: a mean over the batch rounds their gradient to 0"
        )
    return JudgedCall(call, images, expected, right | wrong, wrong, harmless)
