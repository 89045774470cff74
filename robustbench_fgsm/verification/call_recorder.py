"""A network that remembers how it was called, for what images alone do not show."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pass:
    """One forward pass: the mode and type it ran in, the sum of all weights, and how far its input was from the images.

    gradient: whether one can be taken. distance is None where the shapes differ, and where a transform hides the numbers.
    """

    training: bool
    dtype: torch.dtype
    weights: float | None
    distance: float | None
    gradient: bool


@dataclass
class Record:
    """Forward passes since the last `clear`; copies of a network share it. expected: the input that is right."""

    expected: Tensor
    passes: list[Pass] = field(default_factory=list)

    def __deepcopy__(self, memo: object) -> Record:
        return self

    def clear(self, expected: Tensor) -> None:
        """Forget what was, and expect another input."""
        self.expected = expected
        self.passes.clear()


class Probe(nn.Module):
    """The body, and a record of its forward passes."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.record = Record(torch.zeros(0))

    def weights(self) -> float | None:
        """Sum of the magnitudes of all weights, which another network does not share."""
        return weight_sum(self.body)

    def forward(self, x: Tensor) -> Tensor:
        """What the body gives."""
        distance, gradient = _distance(x, self.record.expected), torch.is_grad_enabled() and x.requires_grad
        self.record.passes.append(Pass(self.training, x.dtype, weight_sum(self.body), distance, gradient))
        logits: Tensor = self.body(x)
        return logits


def weight_sum(module: nn.Module) -> float | None:
    """Sum of the magnitudes of all parameters, in float64: another network has another."""
    try:
        return float(sum(parameter.detach().double().abs().sum() for parameter in module.parameters()))
    except RuntimeError:  # inside a transform such as vmap there are no numbers
        return None


def _distance(x: Tensor, expected: Tensor) -> float | None:
    if x.shape != expected.shape:
        return None
    try:
        return float((x.detach().double() - expected.double()).abs().max())
    except RuntimeError:
        return None
