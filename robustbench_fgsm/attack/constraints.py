"""Images with the room that each has: budgets, mask and limits that broadcast to them and are cut to batches with them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.direction import steepest_direction
from robustbench_fgsm.attack.minimal import GRID_ROUNDING_FACTOR
from robustbench_fgsm.attack.step import broadcast_epsilon, project, step


@dataclass(frozen=True)
class BoundedStep:
    """Where images (n, ...) go: directions of norm 1, and (n,) bool those lost, which have no finite gradient and stay."""

    direction: Tensor
    nonfinite_gradient: Tensor

    def at(self, rows: Tensor) -> BoundedStep:
        """Some of them."""
        return BoundedStep(self.direction[rows], self.nonfinite_gradient[rows])


@dataclass(frozen=True)
class Constraint:
    """Images (n, ...); budgets and steps of a grid of budgets, in float64, mask and limits, which all broadcast to x."""

    x: Tensor
    epsilon: Tensor
    epsilon_step: Tensor
    norm: float
    mask: Tensor | None = None
    bounds: tuple[Tensor, Tensor] | None = None

    def at(self, rows: slice | Tensor) -> Constraint:
        """Some of the images with their own room."""

        def share(value: Tensor) -> Tensor:
            return value[rows] if value.ndim == self.x.ndim and len(value) > 1 else value

        return Constraint(
            self.x[rows],
            share(self.epsilon),
            share(self.epsilon_step),
            self.norm,
            None if self.mask is None else share(self.mask),
            None if self.bounds is None else (share(self.bounds[0]), share(self.bounds[1])),
        )

    def to(self, device: torch.device) -> Constraint:
        """The same on a device."""
        return Constraint(
            self.x.to(device),
            self.epsilon.to(device),
            self.epsilon_step.to(device),
            self.norm,
            None if self.mask is None else self.mask.to(device),
            None if self.bounds is None else (self.bounds[0].to(device), self.bounds[1].to(device)),
        )

    def bounded_step(self, gradient: Tensor) -> BoundedStep:
        """The way up a gradient (n, ...) where the mask lets it; taken in the gradient's precision, given in that of x."""
        uphill = gradient if self.mask is None else torch.where(self.mask == 0, 0, gradient)
        lost = ~uphill.flatten(1).isfinite().all(1)
        return BoundedStep(steepest_direction(uphill, self.norm).to(self.x.dtype), lost)

    def perturb(self, bounded_step: BoundedStep, epsilon: Tensor, start: Tensor | None = None) -> Tensor:
        """A step of epsilon, float64, from the images or the start.

        Where an image lies outside the limits, the budget counts for more: it comes back no further than epsilon, as in
        ART.
        """
        budget = epsilon.to(self.x.dtype)
        moved = step(self.x, bounded_step.direction, budget, self.norm, self.bounds, start)
        if self.bounds is not None:
            outside = self._broadcast_flags(((self.x < self.bounds[0]) | (self.x > self.bounds[1])).flatten(1).any(1))
            moved = torch.where(outside, self.x + project(moved - self.x, budget, self.norm), moved)
        return torch.where(self._broadcast_flags(bounded_step.nonfinite_gradient), self.x, moved)

    def last_grid_index(self) -> Tensor:
        """The largest k (n,) with k * epsilon_step <= epsilon all over an image; 0 where its steps are 0."""
        ratio = torch.where(self.epsilon_step > 0, self.epsilon / self.epsilon_step, math.inf)
        last = (ratio * GRID_ROUNDING_FACTOR).floor().expand(self.x.shape).flatten(1).amin(1)
        return torch.where(last.isinf(), 0, last).long()

    def grid_epsilon(self, k: int) -> Tensor:
        """The budgets of place k on the grid: multiplied, not added up."""
        return torch.minimum(k * self.epsilon_step, self.epsilon)

    def _broadcast_flags(self, flags: Tensor) -> Tensor:
        return flags.view(-1, *[1] * (self.x.ndim - 1))


def broadcast_budgets(value: float | NDArray[np.generic], x: Tensor, norm: float) -> Tensor:
    """Budgets in float64, so that they broadcast to the images (N, ...): of one axis, one an image where there are N.

    Other arrays broadcast as NumPy has it, along the last axes. Warns where one axis would fit the last one as well and
    its values differ; raises SettingError as `broadcast_epsilon` does.
    """
    given = torch.from_numpy(np.array(value, dtype=np.float64))
    if given.ndim == 1 < x.ndim and len(given) == x.shape[-1] > 1:
        if len(given) != len(x):
            given = given.view(*[1] * (x.ndim - 1), -1)
        elif bool((given != given[0]).any()):
            warnings.warn(
                f"{len(x)} budgets are taken as one an image, though images are as wide: reshape them to (1, ..., "
                f"{len(x)}) if they are meant along the width, or to ({len(x)}, 1, ...) to be silent",
                UserWarning,
                stacklevel=2,
            )
    return given.reshape(broadcast_epsilon(given, x, norm, None).shape)
