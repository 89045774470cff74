"""A network that records its forward passes, for mistakes that images do not show."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass of a recorded network, with the largest distance of its input from the expected input.

    weight_sum and input_distance are None inside a transform such as vmap, input_distance also if the shapes differ.
    """

    training: bool
    dtype: torch.dtype
    weight_sum: float | None
    input_distance: float | None
    requires_gradient: bool


@dataclass
class CallRecord:
    """Forward passes since the last reset, shared by all copies of a network."""

    expected_input: Tensor
    forward_passes: list[ForwardPass] = field(default_factory=list)

    def __deepcopy__(self, memo: object) -> CallRecord:
        return self

    def reset(self, expected_input: Tensor) -> None:
        """Clear the record, and expect another input."""
        self.expected_input = expected_input
        self.forward_passes.clear()


class CallRecorder(nn.Module):
    """A network, and the record of its forward passes."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.record = CallRecord(torch.zeros(0))

    def forward(self, x: Tensor) -> Tensor:
        """Record the forward pass, and return the outputs of the body."""
        distance, gradient = _max_distance(x, self.record.expected_input), torch.is_grad_enabled() and x.requires_grad
        self.record.forward_passes.append(ForwardPass(self.training, x.dtype, weight_sum(self.body), distance, gradient))
        logits: Tensor = self.body(x)
        return logits


def weight_sum(module: nn.Module) -> float | None:
    """Return the sum of the magnitudes of all parameters in float64, which differs between networks."""
    try:
        return float(sum(parameter.detach().double().abs().sum() for parameter in module.parameters()))
    except RuntimeError:  # a tensor inside a transform such as vmap has no values
        return None


def _max_distance(x: Tensor, expected: Tensor) -> float | None:
    if x.shape != expected.shape:
        return None
    try:
        return float((x.detach().double() - expected.double()).abs().max())
    except RuntimeError:
        return None
