"""Find images whose prediction could change by rounding, and therefore by the memory layout.

Logits of one image in two layouts differ by about 1e-6 of their size. A few images in a thousand also have a gradient with
other signs, because max-pooling picks another of two equal pixels, or a ReLU input is zero. Their attacked logits differ by up to
3 % of how far the attack moves them. The plain layout decides an image again if its margin is within either difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.engine.attack_batch import SATURATION_THRESHOLD, AttackedBatch, wrong_class_probability
from robustbench_fgsm.spec import AttackSpec

NEAR_SATURATION_THRESHOLD = 2 * SATURATION_THRESHOLD
"""Below this 1 - p_y, rounding can change the gradient, and whether the image counts as saturated."""

LOGIT_MARGIN_SHARE = 1e-5
"""Margins below this share of the largest logit depend on rounding: ten times the measured difference of two layouts."""

LOGIT_CHANGE_MARGIN_SHARE = 0.03
"""Margins below this share of how far the attack moved the logits depend on single signs of the gradient."""

SAME_GRADIENT_TOLERANCE = 1e-4
"""Directions this close, as a share of their largest coordinate, lead to equal logits, see `SAME_GRADIENT_MARGIN_SHARE`."""

SAME_GRADIENT_MARGIN_SHARE = 1e-3
"""Margins above this share of the move do not change with a direction that close."""


def guard_unsupported_reason(spec: AttackSpec) -> str:
    """Return why the guard does not cover this attack; empty if it does."""
    if spec.restarts:
        return "the best of several starts may depend on the last bits of each"
    if spec.norm < 2:
        return "a norm below 2 moves few pixels, and rounding may choose others"
    if spec.loss != "ce":
        return f"loss {spec.loss} was not measured"
    return ""


def logit_margins(outputs: Tensor) -> Tensor:
    """Return the distance (N,) of the largest output (N, K) from the second largest."""
    if outputs.shape[1] < 2:
        return torch.full_like(outputs[:, 0], math.inf)
    first, second = outputs.topk(2, 1).values.unbind(1)
    return first - second


@dataclass(frozen=True)
class RoundingRisk:
    """Risk of rounding at one budget.

    direction: images (N,) bool whose gradient is computed again; prediction: those that are predicted again even if the
    gradient stays.
    """

    direction: Tensor
    prediction: Tensor

    def __or__(self, other: RoundingRisk) -> RoundingRisk:
        return RoundingRisk(self.direction | other.direction, self.prediction | other.prediction)


def clean_rounding_risk(attacked: AttackedBatch, spec: AttackSpec) -> Tensor:
    """Return the images (N,) bool whose clean prediction, target or gradient depends on rounding, at any budget.

    Saturated images are among them unless the loss is stable, because their gradient is mostly rounding.
    """
    step, outputs = attacked.gradient_step, attacked.gradient_step.outputs
    rounding = LOGIT_MARGIN_SHARE * outputs.abs().amax(1)
    found = (logit_margins(outputs) < rounding) | step.zero_gradient | step.nonfinite_gradient
    if spec.target.kind == "least-likely":
        found |= logit_margins(-outputs) < rounding
    share = wrong_class_probability(outputs, attacked.labels_or_targets)
    near = share < NEAR_SATURATION_THRESHOLD
    return found | (near & (share > SATURATION_THRESHOLD / 2) if spec.stable else near)


def rounding_risk(clean_outputs: Tensor, adversarial_outputs: Tensor) -> RoundingRisk:
    """Return the images whose margin after the attack is a small share of their logits (N, K), or of how far these moved."""
    move, margin = (adversarial_outputs - clean_outputs).abs().amax(1), logit_margins(adversarial_outputs)
    rounding = LOGIT_MARGIN_SHARE * adversarial_outputs.abs().amax(1)
    return RoundingRisk(
        margin < torch.maximum(rounding, LOGIT_CHANGE_MARGIN_SHARE * move),
        margin < torch.maximum(rounding, SAME_GRADIENT_MARGIN_SHARE * move),
    )


def same_gradient(one: Tensor, other: Tensor) -> Tensor:
    """Return the images (N,) bool whose two directions (N, ...) differ by rounding only."""
    difference, size = (tensor.flatten(1).abs().amax(1) for tensor in (one - other, other))
    return difference <= SAME_GRADIENT_TOLERANCE * size
