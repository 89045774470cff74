"""Images whose predictions rest on the last bits of a computation, and so on the memory layout it ran in.

Logits of one image in two layouts differ by about 1e-6 of their size. The signs of its gradient are the same but for a
few images in a thousand, where max-pooling picks another one of equal pixels, or a ReLU stands at zero; there the attacked
logits differ by up to 3 % of how far the attack moves them. An image is decided again in the plain layout where its
margin is within reach of either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.engine.attack_batch import SATURATION_THRESHOLD, AttackedBatch, wrong_class_probability
from robustbench_fgsm.spec import AttackSpec

NEAR_SATURATION_THRESHOLD = 2 * SATURATION_THRESHOLD
"""Below this 1 - p_y a gradient is rounding in good part, and whether the image counts as saturated is too."""

LOGIT_MARGIN_SHARE = 1e-5
"""Margins below this share of the largest logit rest on rounding: ten times what two layouts were seen to differ by."""

LOGIT_CHANGE_MARGIN_SHARE = 0.03
"""Margins below this share of how far the attack moved the logits rest on single signs of the gradient."""

SAME_GRADIENT_TOLERANCE = 1e-4
"""Directions no further apart than this share of their largest coordinate lead to the same logits, see `NEAR`."""

SAME_GRADIENT_MARGIN_SHARE = 1e-3
"""Margins above this share of the move are not changed by a direction as near as that."""


def guard_unsupported_reason(spec: AttackSpec) -> str:
    """Why the guard cannot answer for this attack; empty where it can."""
    if spec.restarts:
        return "the best of several starts may hang on the last bits of each"
    if spec.norm < 2:
        return "a norm below 2 moves few pixels, and rounding may choose others"
    if spec.loss != "ce":
        return f"loss {spec.loss} was not measured"
    return ""


def logit_margins(outputs: Tensor) -> Tensor:
    """Distance of the largest output from the next (N,); outputs (N, K)."""
    if outputs.shape[1] < 2:
        return torch.full_like(outputs[:, 0], math.inf)
    first, second = outputs.topk(2, 1).values.unbind(1)
    return first - second


@dataclass(frozen=True)
class RoundingRisk:
    """At one budget. unsure: images (N,) bool that are decided again; narrow: those that are then predicted again anyway."""

    direction: Tensor
    prediction: Tensor

    def __or__(self, other: RoundingRisk) -> RoundingRisk:
        return RoundingRisk(self.direction | other.direction, self.prediction | other.prediction)


def clean_rounding_risk(attacked: AttackedBatch, spec: AttackSpec) -> Tensor:
    """Images (N,) bool whose clean prediction, target or gradient rests on rounding, whatever the budget.

    Saturated images are such unless the loss is stable: what is left of their gradient is rounding.
    """
    outputs, ascent = attacked.gradient_step.outputs, attacked.gradient_step
    reach = LOGIT_MARGIN_SHARE * outputs.abs().amax(1)
    found = (logit_margins(outputs) < reach) | ascent.zero_gradient | ascent.nonfinite_gradient
    if spec.target.kind == "least-likely":
        found |= logit_margins(-outputs) < reach
    share = wrong_class_probability(outputs, attacked.labels_or_targets)
    near = share < NEAR_SATURATION_THRESHOLD
    return found | (near & (share > SATURATION_THRESHOLD / 2) if spec.stable else near)


def rounding_risk(clean_outputs: Tensor, adversarial_outputs: Tensor) -> RoundingRisk:
    """Images (N,) whose margin after the attack is a small share of their logits, or of how far these moved; both (N, K)."""
    move, margin = (adversarial_outputs - clean_outputs).abs().amax(1), logit_margins(adversarial_outputs)
    rounding = LOGIT_MARGIN_SHARE * adversarial_outputs.abs().amax(1)
    return RoundingRisk(
        margin < torch.maximum(rounding, LOGIT_CHANGE_MARGIN_SHARE * move),
        margin < torch.maximum(rounding, SAME_GRADIENT_MARGIN_SHARE * move),
    )


def same_gradient(one: Tensor, other: Tensor) -> Tensor:
    """Images (N,) bool whose two directions (N, ...) are the same but for rounding."""
    gap, size = ((one - other).flatten(1).abs().amax(1), other.flatten(1).abs().amax(1))
    return gap <= SAME_GRADIENT_TOLERANCE * size
