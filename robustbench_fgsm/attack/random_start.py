"""Random starts: points of the ball around an image at which a gradient may be taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.arguments import ArrayLike, check_batch, to_bounds, to_epsilon, to_ids, to_images, to_mask, to_scale
from robustbench_fgsm.attack.clip import clip
from robustbench_fgsm.attack.step import Epsilon, apply_mask, broadcast_epsilon
from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.spec import PIXEL_BOUNDS, check_integer, parse_norm

Point = NDArray[np.float64]


@neutral_settings()
def random_start(
    x: ArrayLike,
    ids: ArrayLike,
    epsilon: Epsilon | str | ArrayLike,
    *,
    norm: str | float = "inf",
    epsilon_scale: str | FeatureArray | None = None,
    bounds: Sequence[Any] | ArrayLike | None = PIXEL_BOUNDS,
    mask: ArrayLike | None = None,
    seed: int = 0,
    restart: int = 1,
    distribution: str = "uniform",
) -> Tensor:
    """Return images moved to a point drawn from the norm's ball of radius epsilon, then clipped to the bounds.

    The point of an image depends on (seed, id, restart) alone, not on the batch or the device. PyTorch's and NumPy's global
    generators are not used. A random start followed by a full step is ART's variant. `pgd` and `bim` have R+FGSM (Tramer et al.
    2018, arXiv:1705.07204) and FGSM-RS (Wong et al. 2020, arXiv:2001.03994) as settings.

    Args:
        x: (N, ...) float images within the bounds: a tensor, an array or a list. Arrays and lists become float32.
        ids: (N,) identity of each image, an integer >= 0.
        epsilon: radius in the units of x: a scalar, one per image (N,), or a tensor that broadcasts to x.
        norm: `inf`, or the order p >= 1.
        epsilon_scale: as in `fgsm`.
        bounds: low and high limit of the result; None for no limits.
        mask: bool, or float >= 0, that broadcasts to x; a pixel does not move if its mask is 0. None moves all pixels.
        seed: seed of the draws, >= 0.
        restart: number of the restart, >= 0, which selects another draw.
        distribution: `uniform` in the ball, or `sign` for a random sign in each feature, at distance epsilon.

    Returns:
        Tensor in the shape of x.

    Raises:
        SettingError: norm, epsilon, bounds, mask, seed, restart or distribution is invalid.
        DataError: images or ids have a wrong dtype, shape or range.

    Source:
        Barthe et al. 2005, arXiv:math/0503650, theorem 1: uniform draws from the ball of any p.
    """
    order = parse_norm(norm)
    seed, restart = check_integer("seed", seed), check_integer("restart", restart)
    images = to_images(x, None)
    limits = to_bounds(bounds, images)
    check_batch(images, None, bounds=limits)
    scale = to_scale(epsilon_scale, images, limits)
    limited = limits if scale is None else None
    budget = broadcast_epsilon(to_epsilon(epsilon, images, order, limited), images, order, limited)
    if distribution not in DISTRIBUTIONS:
        remedy = did_you_mean(distribution, DISTRIBUTIONS)
        raise SettingError(f"distribution must be one of {', '.join(DISTRIBUTIONS)}, got {distribution!r:.40}: {remedy}")
    size, sample = math.prod(images.shape[1:]), DISTRIBUTIONS[distribution]
    points = [sample(size, order, np.random.default_rng([seed, id_, restart])) for id_ in to_ids(ids, len(images))]
    drawn = torch.from_numpy(np.stack(points)) if points else torch.zeros(0, size)
    offset = budget * drawn.to(images).view_as(images)
    return clip(images + apply_mask(offset if scale is None else offset * scale, to_mask(mask, images)), limits)


def sample_unit_ball(size: int, norm: float, generator: np.random.Generator) -> Point:
    """Return a point (size,) drawn uniformly from the unit ball of the norm."""
    if norm == math.inf:
        return generator.uniform(-1, 1, size)
    magnitudes = generator.gamma(1 / norm, size=size)  # p-th powers of the magnitudes of a generalised Gaussian
    shares: Point = magnitudes / (magnitudes.sum() + generator.exponential())
    return np.copysign(shares ** (1 / norm), generator.uniform(-1, 1, size))


def sample_signs(size: int, norm: float, generator: np.random.Generator) -> Point:
    """Return a point (size,) of norm 1 whose coordinates have one magnitude and random signs."""
    length = 1.0 if norm == math.inf else size ** (1 / norm)
    return (generator.integers(0, 2, size) * 2.0 - 1) / length


DISTRIBUTIONS = {"uniform": sample_unit_ball, "sign": sample_signs}
"""Function that draws a point of the unit ball, by the name of its distribution."""
