"""Random starts: even in the ball, and the same however the images are dealt out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from robustbench_fgsm.attack.fgsm import Model, fgsm
from robustbench_fgsm.attack.random_start import random_start, sample_unit_ball
from robustbench_fgsm.errors import InputError

NORMS = [math.inf, 1.0, 2.0, 1.5, 3.0]


@pytest.mark.parametrize("norm", NORMS)
def test_uniform_in_the_ball(norm: float) -> None:
    """The radius of a point drawn evenly from a d-dimensional ball has the distribution function r^d; signs are fair."""
    random = np.random.default_rng(0)
    points = np.stack([sample_unit_ball(3, norm, random) for _ in range(4000)])
    radii = np.linalg.norm(points, norm, axis=1)
    assert radii.max() <= 1
    assert stats.kstest(radii**3, "uniform").pvalue > 1e-3
    assert stats.binomtest(int((points > 0).sum()), points.size).pvalue > 1e-3


@pytest.mark.parametrize("norm", [1.5, 2.0])
def test_uniform_over_directions(norm: float) -> None:
    """By rejection from the square: coordinates of the two samples have one distribution."""
    random = np.random.default_rng(1)
    square = random.uniform(-1, 1, (8000, 2))
    kept = square[np.linalg.norm(square, norm, axis=1) <= 1]
    points = np.stack([sample_unit_ball(2, norm, random) for _ in range(4000)])
    assert stats.ks_2samp(points[:, 0], kept[:, 0]).pvalue > 1e-3
    assert stats.ks_2samp(points.sum(1), kept.sum(1)).pvalue > 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_depends_on_seed_image_and_restart(norm: float) -> None:
    x, ids = torch.rand(5, 1, 3, 3), torch.tensor([3, 1, 4, 15, 9])
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    start = random_start(x, ids, 0.1, norm=norm, seed=7)
    order = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(random_start(x[order], ids[order], 0.1, norm=norm, seed=7), start[order])
    assert torch.equal(random_start(x[2:3], ids[2:3], 0.1, norm=norm, seed=7), start[2:3])
    assert not torch.equal(random_start(x, ids, 0.1, norm=norm, seed=8), start)
    assert not torch.equal(random_start(x, ids, 0.1, norm=norm, seed=7, restart=2), start)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # type: ignore[index]


@pytest.mark.parametrize("norm", NORMS)
def test_signs_lie_on_the_sphere(norm: float) -> None:
    x, ids = torch.zeros(40, 5, 5, dtype=torch.float64), torch.arange(40)
    offset = random_start(x, ids, 0.3, norm=norm, distribution="sign", bounds=None)
    torch.testing.assert_close(
        torch.linalg.vector_norm(offset.flatten(1), norm, dim=1), torch.full((40,), 0.3, dtype=torch.float64)
    )
    assert offset.abs().min() == offset.abs().max()
    assert stats.binomtest(int((offset > 0).sum()), offset.numel()).pvalue > 1e-3
    assert torch.equal(offset[3:5], random_start(x[3:5], ids[3:5], 0.3, norm=norm, distribution="sign", bounds=None))


def test_within_budget_bounds_and_mask() -> None:
    x, ids = torch.rand(6, 2, 4, 4), torch.arange(6)
    mask = torch.zeros(4, 4)
    mask[1:3] = 1
    start = random_start(x, ids, torch.linspace(0, 0.5, 6), mask=mask)
    assert ((start - x).abs().flatten(1).amax(1) <= torch.linspace(0, 0.5, 6) + 1e-6).all()
    assert torch.equal(start[..., [0, 3], :], x[..., [0, 3], :])
    assert (start[1:, ..., 1:3, :] != x[1:, ..., 1:3, :]).any()
    assert 0 <= start.min() <= start.max() <= 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_a_start_stays_in_the_ball(wavy_model: Model, norm: float, targeted: bool) -> None:
    x, y, ids = torch.rand(8, 1, 2, 3), torch.arange(8) % 3, torch.arange(8)
    start = random_start(x, ids, 0.3, norm=norm)
    x_adv = fgsm(wavy_model, x, y, 0.3, norm=norm, targeted=targeted, start=start)
    assert (torch.linalg.vector_norm((x_adv - x).flatten(1), norm, dim=1) <= 0.3 * (1 + 1e-5)).all()
    assert not torch.equal(x_adv, fgsm(wavy_model, x, y, 0.3, norm=norm, targeted=targeted))


X, IDS = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4)
SAME: dict[str, dict[str, Any]] = {
    "NumPy images": {"x": X.numpy()},
    "lists": {"x": X.tolist(), "ids": IDS.tolist()},
    "int32 ids": {"ids": IDS.int()},
    "NumPy ids": {"ids": IDS.numpy().astype(np.uint16)},
    "epsilon as text": {"epsilon": "25.5/255"},
    "epsilon by image": {"epsilon": [0.1] * 4},
    "bounds of NumPy": {"bounds": np.array([0, 1])},
    "mask of NumPy": {"mask": np.ones((3, 3), bool)},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "images of 0 to 255": ({"x": X * 255}, r"images must lie in \[0, 1\]"),
    "8-bit images": ({"x": (X * 255).byte()}, "images must be floating point"),
    "negative ids": ({"ids": IDS - 1}, "ids must be integers >= 0"),
    "fewer ids": ({"ids": IDS[:2]}, r"ids must be integers >= 0 of shape \(4,\)"),
    "float ids": ({"ids": IDS / 2}, "pass one integer >= 0 for each image"),
    "text as seed": ({"seed": "a"}, "seed must be an integer >= 0"),
    "negative seed": ({"seed": -1}, "seed must be an integer >= 0"),
    "fraction as restart": ({"restart": 1.5}, "restart must be an integer >= 0"),
    "misspelt distribution": (
        {"distribution": "signs"},
        "distribution must be one of uniform, sign, got 'signs': did you mean sign",
    ),
    "bounds as text": ({"bounds": "0,1"}, "bounds must be low and high"),
    "mask of integers": ({"mask": torch.ones(3, 3).long()}, "pass mask != 0"),
}


def start(changed: dict[str, Any]) -> Tensor:
    arguments: dict[str, Any] = {"x": X, "ids": IDS, "epsilon": 0.1}
    return random_start(**arguments | changed)


@pytest.mark.parametrize("name", SAME)
def test_forms_of_the_same_arguments(name: str) -> None:
    assert torch.equal(start(SAME[name]), start({}))


@pytest.mark.parametrize("name", REFUSED)
def test_other_arguments_are_named(name: str) -> None:
    changed, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        start(changed)
