"""What an implementation may do at each stage of FGSM: the right choice and known mistakes, by name.

The choices of the loss are in `losses`. The first choice of each stage is the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import clip
from robustbench_fgsm.attack.direction import largest_magnitude, steepest_direction
from robustbench_fgsm.attack.iterated import PGD_STEP_FACTOR
from robustbench_fgsm.variants.attack_call import AttackCall

Value = TypeVar("Value", covariant=True)


@dataclass(frozen=True)
class Choice(Generic[Value]):
    """What is done at a stage, and the id of the mistake that it is; None if it is right."""

    value: Value
    cause: str | None = None


LABELS: dict[str, Choice[Callable[[Tensor, Tensor], Tensor]]] = {
    "given": Choice(lambda _, y: y),
    "predicted": Choice(lambda outputs, _: outputs.argmax(1), "predicted-labels"),
    "least likely": Choice(lambda outputs, _: outputs.argmin(1), "least-likely-label"),
    "shifted by 1": Choice(lambda outputs, y: (y + 1) % outputs.shape[1], "label-offset"),
    "shifted by -1": Choice(lambda outputs, y: (y - 1) % outputs.shape[1], "label-offset"),
}
"""Labels (N,) of the loss, from outputs (N, K) and the given labels (N,). The step goes towards the least likely class."""

DIRECTIONS: dict[str, Choice[Callable[[Tensor], Tensor]]] = {
    "sign": Choice(torch.sign),
    "minus the sign": Choice(lambda gradient: -gradient.sign(), "wrong-sign"),
    "away from the target": Choice(lambda gradient: -gradient.sign(), "targeted-as-untargeted"),
    "sign above 1e-6": Choice(lambda gradient: gradient.sign() * (gradient.abs() > 1e-6), "gradient-threshold"),
    "tanh": Choice(torch.tanh, "soft-sign"),
    "gradient": Choice(lambda gradient: gradient, "raw-gradient"),
    "L2": Choice(lambda gradient: steepest_direction(gradient, 2), "wrong-norm"),
    "L2 by root of pixels": Choice(lambda gradient: steepest_direction(gradient, 2) * gradient[0].numel() ** 0.5, "wrong-norm"),
    "L1": Choice(lambda gradient: steepest_direction(gradient, 1), "wrong-norm"),
    "by largest gradient": Choice(
        lambda gradient: gradient / largest_magnitude(gradient).clamp_min(1e-30).view(-1, 1, 1, 1), "wrong-norm"
    ),
}
"""The direction that is multiplied by the size of the step, from the gradient (N, C, H, W) of what is climbed."""

COMMON_EPSILONS = {"8/255": 8 / 255, "16/255": 16 / 255, "4/255": 4 / 255, "0.3": 0.3, "0.1": 0.1, "0.03": 0.03, "0.01": 0.01}
"""Epsilons that code often holds as a constant."""


def _constant(epsilon: float) -> Choice[Callable[[AttackCall], Tensor | float]]:
    return Choice(lambda _: epsilon, "wrong-epsilon")


SIZES: dict[str, Choice[Callable[[AttackCall], Tensor | float]]] = {
    "epsilon": Choice(lambda call: call.epsilon),
    "times std": Choice(lambda call: call.epsilon * call.std, "normalised-epsilon"),
    "over std": Choice(lambda call: call.epsilon / call.std, "normalised-epsilon"),
    "over 255": Choice(lambda call: call.epsilon / 255, "epsilon-scale-255"),
    "times 255": Choice(lambda call: call.epsilon * 255, "epsilon-scale-255"),
    "half": Choice(lambda call: call.epsilon / 2, "wrong-epsilon"),
    "twice": Choice(lambda call: call.epsilon * 2, "wrong-epsilon"),
    "five quarters": Choice(lambda call: call.epsilon * 1.25, "wrong-epsilon"),
    **{f"always {name}": _constant(epsilon) for name, epsilon in COMMON_EPSILONS.items()},
    "none": Choice(lambda _: 0.0, "no-op"),
}
"""The size of the step in pixel space, also the radius of random starts and of several steps."""

CLIPS: dict[str, Choice[Callable[[Tensor, AttackCall], Tensor]]] = {
    "bounds": Choice(lambda x, call: clip(x, call.bounds)),
    "none": Choice(lambda x, _: x, "no-clip"),
    "normalised": Choice(lambda x, call: ((x - call.mean) / call.std).clamp(0.0, 1.0) * call.std + call.mean, "normalised-clip"),
}
"""Clipped images, from images (N, C, H, W) after the step."""

OUTPUTS: dict[str, Choice[Callable[[Tensor], Tensor]]] = {
    "float32": Choice(lambda images: images),
    "rounded": Choice(lambda images: (images.clamp(0, 1) * 255).round() / 255, "quantised-8bit"),
    "truncated": Choice(lambda images: (images.clamp(0, 1) * 255).floor() / 255, "truncated-8bit"),
    "truncated by 256": Choice(lambda images: (images.clamp(0, 1) * 256).floor().clamp(max=255) / 255, "truncated-8bit"),
}
"""The images that are returned, from adversarial images (N, C, H, W)."""

STARTS: dict[str, Choice[Callable[[Tensor], Tensor] | None]] = {
    "the image": Choice(None),
    "a random point": Choice(lambda drawn: drawn, "random-start"),
    "a random half step": Choice(lambda drawn: drawn.sign() / 2, "random-start"),
}
"""How far from the image the attack starts, in sizes of the step, from uniform draws in [-1, 1] (N, C, H, W)."""


@dataclass(frozen=True)
class StepRule:
    """Steps of an attack: their number, and the size of each, as a share of the attack's size or in pixel space.

    random_start: the first step begins at a uniform point of the ball. decay: factor of MI-FGSM's momentum; None without momentum.
    """

    count: int
    share: float = 1.0
    pixels: float | None = None
    random_start: bool = False
    decay: float | None = None


_ITERATED = {
    "2 of epsilon": StepRule(2),
    "10 of a tenth": StepRule(10, 0.1),
    "FGSM-RS, 1 of 5/4 of epsilon": StepRule(1, 1.25, random_start=True),
    "MI-FGSM-10 of a tenth": StepRule(10, 0.1, decay=1.0),
    **{f"PGD-{count} of 2/255": StepRule(count, pixels=2 / 255, random_start=True) for count in (7, 10, 20, 40, 50)},
    **{f"PGD-{count} of a quarter": StepRule(count, 0.25, random_start=True) for count in (7, 10, 20)},
    **{f"PGD-{count} of 2.5/{count}": StepRule(count, PGD_STEP_FACTOR / count, random_start=True) for count in (10, 20)},
}
STEPS: dict[str, Choice[StepRule]] = {
    "one": Choice(StepRule(1)),
    **{name: Choice(rule, "iterated") for name, rule in _ITERATED.items()},
}
"""Number and size of the steps, in shares of the size of the attack or in pixel space; rules with steps of one size are in rising
order, because a run continues the one before."""

MODES: dict[str, Choice[bool]] = {"eval": Choice(False), "train": Choice(True, "train-mode")}
"""Whether the gradient is taken in train mode."""

KEPT: dict[str, Choice[Callable[[Tensor, Tensor], Tensor]]] = {
    "all": Choice(lambda _, after: torch.zeros_like(after)),
    "clean where wrong before": Choice(lambda before, _: before, "skips-misclassified"),
    "clean where it fails": Choice(lambda _, after: ~after, "returns-clean-on-failure"),
    "clean where it succeeds": Choice(lambda _, after: after, "returns-clean-on-failure"),
}
"""Which images (N,) stay clean, from whether the prediction before and after the attack is a success of the attack (N,)."""
