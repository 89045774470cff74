"""A network that remembers how it was called, for what images alone do not show."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass: the mode and type it ran in, the sum of all weights, and how far its input was from the images.

    gradient: whether one can be taken. distance is None where the shapes differ, and where a transform hides the numbers.
    """

    training: bool
    dtype: torch.dtype
    weight_sum: float | None
    input_distance: float | None
    requires_gradient: bool


@dataclass
class CallRecord:
    """Forward passes since the last `clear`; copies of a network share it. expected: the input that is right."""

    expected_input: Tensor
    forward_passes: list[ForwardPass] = field(default_factory=list)

    def __deepcopy__(self, memo: object) -> CallRecord:
        return self

    def reset(self, expected_input: Tensor) -> None:
        """Forget what was, and expect another input."""
        self.expected_input = expected_input
        self.forward_passes.clear()


class CallRecorder(nn.Module):
    """The body, and a record of its forward passes."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.record = CallRecord(torch.zeros(0))

    def body_weight_sum(self) -> float | None:
        """Sum of the magnitudes of all weights, which another network does not share."""
        return weight_sum(self.body)

    def forward(self, x: Tensor) -> Tensor:
        """What the body gives."""
        distance, gradient = _max_distance(x, self.record.expected_input), torch.is_grad_enabled() and x.requires_grad
        self.record.forward_passes.append(ForwardPass(self.training, x.dtype, weight_sum(self.body), distance, gradient))
        logits: Tensor = self.body(x)
        return logits


def weight_sum(module: nn.Module) -> float | None:
    """Sum of the magnitudes of all parameters, in float64: another network has another."""
    try:
        return float(sum(parameter.detach().double().abs().sum() for parameter in module.parameters()))
    except RuntimeError:  # inside a transform such as vmap there are no numbers
        return None


def _max_distance(x: Tensor, expected: Tensor) -> float | None:
    if x.shape != expected.shape:
        return None
    try:
        return float((x.detach().double() - expected.double()).abs().max())
    except RuntimeError:
        return None
