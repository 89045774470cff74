"""Random starts: where else than at the image itself a gradient may be taken."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.step import Epsilon, broadcast_epsilon, clip
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds, parse_norm

Point = NDArray[np.float64]


def random_start(
    x: Tensor,
    ids: Tensor,
    epsilon: Epsilon,
    *,
    norm: str | float = "inf",
    bounds: Bounds | None = PIXEL_BOUNDS,
    mask: Tensor | None = None,
    seed: int = 0,
    restart: int = 1,
) -> Tensor:
    """Images moved to a point drawn evenly from the norm's ball of radius epsilon around each, then clipped to bounds.

    x: (N, ...); ids: (N,) int64, one per image. Returns the shape of x. The point depends on (seed, id, restart) alone,
    not on the batch or the device, and the global generators are not used. Where the mask is 0 nothing moves. Even in the
    ball of any p by Barthe et al. 2005 (arXiv:math/0503650, theorem 1); start and full step together are ART's variant,
    which is neither R+FGSM (Tramer et al. 2018, arXiv:1705.07204) nor FGSM-RS (Wong et al. 2020, arXiv:2001.03994).
    """
    order = parse_norm(norm)
    budget = broadcast_epsilon(epsilon, x, order, bounds)
    size = math.prod(x.shape[1:])
    points = [sample_unit_ball(size, order, np.random.default_rng([seed, int(id_), restart])) for id_ in ids]
    drawn = torch.from_numpy(np.stack(points)) if points else torch.zeros(0, size)
    offset = budget * drawn.to(x).view_as(x)
    return clip(x + (offset if mask is None else torch.where(mask == 0, 0, offset)), bounds)


def sample_unit_ball(size: int, norm: float, generator: np.random.Generator) -> Point:
    """A point (size,) drawn evenly from the unit ball of the norm."""
    if norm == math.inf:
        return generator.uniform(-1, 1, size)
    magnitudes = generator.gamma(1 / norm, size=size)  # the p-th powers of a generalised Gaussian's magnitudes
    shares: Point = magnitudes / (magnitudes.sum() + generator.exponential())
    return np.copysign(shares ** (1 / norm), generator.uniform(-1, 1, size))
