"""Type of a candidate, record of candidates, and the parts that several candidates share."""

# ruff: noqa: N812

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Candidate = Callable[[Any, Tensor, Tensor, float], Any]
Loss = Callable[[Tensor, Tensor], Tensor]

STAGES = ("loss", "labels", "direction", "size", "clip", "output", "steps", "randomness", "conduct")


class Record:
    """Candidates by name.

    cases: candidate and the stages that are wrong. optional: stages that a judge may call wrong or right.
    """

    def __init__(self) -> None:
        self.cases: dict[str, tuple[Candidate, list[str]]] = {}
        self.optional: dict[str, set[str]] = {}

    def add(self, name: str, candidate: Candidate, wrong: str = "", optional: str = "") -> None:
        """Add a candidate; stages are separated by spaces."""
        unknown = {*wrong.split(), *optional.split()} - {*STAGES}
        if unknown or name in self.cases:
            raise ValueError(f"candidate {name}: expected a new name and known stages, got {unknown}")
        self.cases[name] = (candidate, wrong.split())
        self.optional[name] = set(optional.split())

    def __call__(self, wrong: str = "", optional: str = "") -> Callable[[Candidate], Candidate]:
        """Return a decorator that adds a function under its own name."""

        def add(candidate: Candidate) -> Candidate:
            self.add(getattr(candidate, "__name__", ""), candidate, wrong, optional)
            return candidate

        return add


def gradient(model: Any, x: Tensor, y: Tensor, loss: Loss = F.cross_entropy) -> Tensor:
    """Return the gradient of the loss at x, and leave x and the parameters as they are."""
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(model(leaf), y), leaf)[0]


def sign_step(model: Any, x: Tensor, y: Tensor, epsilon: float, loss: Loss = F.cross_entropy) -> Tensor:
    """Return the right step with a loss of the caller."""
    return (x.detach() + epsilon * gradient(model, x, y, loss).sign()).clamp(0, 1)


def rows(values: Tensor) -> Tensor:
    """Return one value for each image in a shape that broadcasts to images."""
    return values.view(-1, 1, 1, 1)


def one_hot(logits: Tensor, y: Tensor) -> Tensor:
    """Return one-hot labels in the shape and type of the logits."""
    return F.one_hot(y, logits.shape[1]).to(logits.dtype)


def mean_and_std(model: Any) -> tuple[Tensor, Tensor]:
    """Return the statistics of the model's normalisation in a shape that broadcasts to images."""
    return torch.as_tensor(model.mean).reshape(1, -1, 1, 1), torch.as_tensor(model.std).reshape(1, -1, 1, 1)
