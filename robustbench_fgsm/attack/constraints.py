"""Constraints of single images: budgets, mask and bounds that broadcast to the images and are split with them into batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.clip import project
from robustbench_fgsm.attack.direction import expand_per_image, steepest_direction
from robustbench_fgsm.attack.minimal import GRID_ROUNDING_FACTOR
from robustbench_fgsm.attack.step import apply_mask, broadcast_epsilon, step


@dataclass(frozen=True)
class BoundedStep:
    """Directions (n, ...) of norm 1, and (n,) bool: images whose gradient is not finite, which do not move."""

    direction: Tensor
    nonfinite_gradient: Tensor

    def at(self, rows: Tensor) -> BoundedStep:
        """Return the directions of these rows."""
        return BoundedStep(self.direction[rows], self.nonfinite_gradient[rows])


@dataclass(frozen=True)
class Constraint:
    """Images (n, ...) with what limits their perturbation; all tensors broadcast to the images.

    Budgets and the steps of a grid of budgets are float64. A pixel does not move if its mask is 0. None for mask or bounds means no
    limit.
    """

    x: Tensor
    epsilon: Tensor
    epsilon_step: Tensor
    norm: float
    mask: Tensor | None = None
    bounds: tuple[Tensor, Tensor] | None = None

    def at(self, rows: slice | Tensor) -> Constraint:
        """Return the images of these rows with their own constraints."""
        return self._map(self.x[rows], lambda value: value[rows] if value.ndim == self.x.ndim and len(value) > 1 else value)

    def to(self, device: torch.device) -> Constraint:
        """Return the constraint on a device."""
        return self._map(self.x.to(device), lambda value: value.to(device))

    def _map(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Constraint:
        mask = None if self.mask is None else change(self.mask)
        bounds = None if self.bounds is None else (change(self.bounds[0]), change(self.bounds[1]))
        return Constraint(x, change(self.epsilon), change(self.epsilon_step), self.norm, mask, bounds)

    def bounded_step(self, gradient: Tensor) -> BoundedStep:
        """Return the steepest masked direction, computed in the precision of the gradient (n, ...), in the dtype of x."""
        ascent = apply_mask(gradient, self.mask)
        return BoundedStep(steepest_direction(ascent, self.norm).to(self.x.dtype), ~ascent.flatten(1).isfinite().all(1))

    def perturb(self, bounded_step: BoundedStep, epsilon: Tensor, start: Tensor | None = None) -> Tensor:
        """Return the images, or the start, moved by epsilon (float64).

        If a clean image lies outside the bounds, the budget has priority over the bounds, as in ART.
        """
        budget = epsilon.to(self.x.dtype)
        moved = step(self.x, bounded_step.direction, budget, self.norm, self.bounds, start)
        if self.bounds is not None:
            outside = ((self.x < self.bounds[0]) | (self.x > self.bounds[1])).flatten(1).any(1)
            projected = self.x + project(moved - self.x, budget, self.norm)
            moved = torch.where(expand_per_image(outside, self.x), projected, moved)
        return torch.where(expand_per_image(bounded_step.nonfinite_gradient, self.x), self.x, moved)

    def last_grid_index(self) -> Tensor:
        """Return the largest k (n,) with k * epsilon_step <= epsilon everywhere in an image; 0 if its steps are 0."""
        ratio = torch.where(self.epsilon_step > 0, self.epsilon / self.epsilon_step, math.inf)
        last = (ratio * GRID_ROUNDING_FACTOR).floor().expand(self.x.shape).flatten(1).amin(1)
        return torch.where(last.isinf(), 0, last).long()

    def grid_epsilon(self, k: int) -> Tensor:
        """Return the budgets at index k of the grid, as products, not as sums."""
        return torch.minimum(k * self.epsilon_step, self.epsilon)


def broadcast_budgets(value: float | NDArray[np.generic], x: Tensor, norm: float) -> Tensor:
    """Return budgets in float64 that broadcast to images (N, ...); an array of N budgets has one per image.

    Other arrays broadcast along the last axes, as in NumPy. Warns if N different budgets also fit the last axis. Raises
    SettingError as `broadcast_epsilon`.
    """
    budgets = torch.from_numpy(np.array(value, dtype=np.float64))
    if budgets.ndim == 1 < x.ndim and len(budgets) == x.shape[-1] > 1:
        if len(budgets) != len(x):
            budgets = budgets.view(*[1] * (x.ndim - 1), -1)
        elif bool((budgets != budgets[0]).any()):
            warnings.warn(
                f"{len(x)} budgets are taken as one an image, though images are as wide: reshape them to (1, ..., "
                f"{len(x)}) for budgets along the width, or to ({len(x)}, 1, ...) to be silent",
                UserWarning,
                stacklevel=2,
            )
    return budgets.reshape(broadcast_epsilon(budgets, x, norm, None).shape)
