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

from robustbench_fgsm.engine.attack_batch import SATURATED, AttackedBatch, wrong_share
from robustbench_fgsm.spec import AttackSpec

UNSETTLED_SHARE = 2 * SATURATED
"""Below this 1 - p_y a gradient is rounding in good part, and whether the image counts as saturated is too."""

OF_LOGITS = 1e-5
"""Margins below this share of the largest logit rest on rounding: ten times what two layouts were seen to differ by."""

OF_MOVE = 0.03
"""Margins below this share of how far the attack moved the logits rest on single signs of the gradient."""

SAME_COURSE = 1e-4
"""Directions no further apart than this share of their largest coordinate lead to the same logits, see `NEAR`."""

NEAR = 1e-3
"""Margins above this share of the move are not changed by a direction as near as that."""


def unguarded(spec: AttackSpec) -> str:
    """Why the guard cannot answer for this attack; empty where it can."""
    if spec.restarts:
        return "the best of several starts may hang on the last bits of each"
    if spec.norm < 2:
        return "a norm below 2 moves few pixels, and rounding may choose others"
    if spec.loss != "ce":
        return f"loss {spec.loss} was not measured"
    return ""


def margins(outputs: Tensor) -> Tensor:
    """Distance of the largest output from the next (N,); outputs (N, K)."""
    if outputs.shape[1] < 2:
        return torch.full_like(outputs[:, 0], math.inf)
    first, second = outputs.topk(2, 1).values.unbind(1)
    return first - second


@dataclass(frozen=True)
class Doubt:
    """At one budget. unsure: images (N,) bool that are decided again; narrow: those that are then predicted again anyway."""

    unsure: Tensor
    narrow: Tensor

    def __or__(self, other: Doubt) -> Doubt:
        return Doubt(self.unsure | other.unsure, self.narrow | other.narrow)


def unsettled(attacked: AttackedBatch, spec: AttackSpec) -> Tensor:
    """Images (N,) bool whose clean prediction, target or gradient rests on rounding, whatever the budget.

    Saturated images are such unless the loss is stable: what is left of their gradient is rounding.
    """
    outputs, ascent = attacked.ascent.outputs, attacked.ascent
    reach = OF_LOGITS * outputs.abs().amax(1)
    found = (margins(outputs) < reach) | ascent.zero | ascent.nonfinite
    if spec.target.kind == "least-likely":
        found |= margins(-outputs) < reach
    share = wrong_share(outputs, attacked.aim)
    near = share < UNSETTLED_SHARE
    return found | (near & (share > SATURATED / 2) if spec.stable else near)


def doubt(before: Tensor, after: Tensor) -> Doubt:
    """Images (N,) whose margin after the attack is a small share of their logits, or of how far these moved; both (N, K)."""
    move, margin = (after - before).abs().amax(1), margins(after)
    rounding = OF_LOGITS * after.abs().amax(1)
    return Doubt(margin < torch.maximum(rounding, OF_MOVE * move), margin < torch.maximum(rounding, NEAR * move))


def same_course(one: Tensor, other: Tensor) -> Tensor:
    """Images (N,) bool whose two directions (N, ...) are the same but for rounding."""
    gap, size = ((one - other).flatten(1).abs().amax(1), other.flatten(1).abs().amax(1))
    return gap <= SAME_COURSE * size
