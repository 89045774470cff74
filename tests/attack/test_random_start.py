"""Random starts: even in the ball, and the same however the images are dealt out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from robustbench_fgsm.attack.fgsm import StepSettings, compute_gradient_step, fgsm
from robustbench_fgsm.attack.random_start import random_start, sample_unit_ball
from robustbench_fgsm.attack.restarts import best_of_restarts, evaluate_restart

NORMS = [math.inf, 1.0, 2.0, 1.5, 3.0]


@pytest.mark.parametrize("norm", NORMS)
def test_even_in_the_ball(norm: float) -> None:
    """The radius of a point drawn evenly from a d-dimensional ball has the distribution function r^d; signs are fair."""
    random = np.random.default_rng(0)
    points = np.stack([sample_unit_ball(3, norm, random) for _ in range(4000)])
    radii = np.linalg.norm(points, norm, axis=1)
    assert radii.max() <= 1
    assert stats.kstest(radii**3, "uniform").pvalue > 1e-3
    assert stats.binomtest(int((points > 0).sum()), points.size).pvalue > 1e-3


@pytest.mark.parametrize("norm", [1.5, 2.0])
def test_even_over_the_directions(norm: float) -> None:
    """By rejection from the square: coordinates of the two samples have one distribution."""
    random = np.random.default_rng(1)
    square = random.uniform(-1, 1, (8000, 2))
    kept = square[np.linalg.norm(square, norm, axis=1) <= 1]
    points = np.stack([sample_unit_ball(2, norm, random) for _ in range(4000)])
    assert stats.ks_2samp(points[:, 0], kept[:, 0]).pvalue > 1e-3
    assert stats.ks_2samp(points.sum(1), kept.sum(1)).pvalue > 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_depends_on_seed_image_and_restart_alone(norm: float) -> None:
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


def test_within_budget_bounds_and_mask() -> None:
    x, ids = torch.rand(6, 2, 4, 4), torch.arange(6)
    mask = torch.zeros(4, 4)
    mask[1:3] = 1
    start = random_start(x, ids, torch.linspace(0, 0.5, 6), mask=mask)
    assert ((start - x).abs().flatten(1).amax(1) <= torch.linspace(0, 0.5, 6) + 1e-6).all()
    assert torch.equal(start[..., [0, 3], :], x[..., [0, 3], :])
    assert (start[1:, ..., 1:3, :] != x[1:, ..., 1:3, :]).any()
    assert 0 <= start.min() <= start.max() <= 1


def model(x: torch.Tensor) -> torch.Tensor:
    """Not monotone: whether a step fools depends on where it began."""
    flat = x.flatten(1)
    return torch.stack([(20 * flat).sin().sum(1), (13 * flat).cos().sum(1), flat.sum(1) / 10], 1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_a_start_stays_in_the_ball(norm: float, targeted: bool) -> None:
    x, y, ids = torch.rand(8, 1, 2, 3), torch.arange(8) % 3, torch.arange(8)
    start = random_start(x, ids, 0.3, norm=norm)
    x_adv = fgsm(model, x, y, 0.3, norm=norm, targeted=targeted, start=start)
    assert (torch.linalg.vector_norm((x_adv - x).flatten(1), norm, dim=1) <= 0.3 * (1 + 1e-5)).all()
    assert not torch.equal(x_adv, fgsm(model, x, y, 0.3, norm=norm, targeted=targeted))


@pytest.mark.parametrize("targeted", [False, True])
def test_the_best_restart_is_chosen_image_by_image(targeted: bool) -> None:
    x, ids = torch.rand(40, 1, 2, 3), torch.arange(40)
    y = (model(x).argmax(1) + int(targeted)) % 3
    settings = StepSettings(math.inf, targeted)
    ascent = compute_gradient_step(model, x, y, settings)
    attempts = [evaluate_restart(model, ascent.perturb(0.03), y, settings)]
    for restart in (1, 2, 3):
        start = random_start(x, ids, 0.03, restart=restart)
        attempts.append(evaluate_restart(model, fgsm(model, x, y, 0.03, targeted=targeted, start=start), y, settings))
    best = best_of_restarts(model, ascent, y, ids, 0.03, restarts=3, seed=0)
    for i in range(40):
        # fooled first, then highest loss, then the first of equals
        ranked = [(bool(a.fooled[i]), float(a.loss[i]), -r) for r, a in enumerate(attempts)]
        chosen = attempts[-max(ranked)[2]]
        assert torch.equal(best.x_adv[i], chosen.x_adv[i])
    assert best.fooled.sum() > attempts[0].fooled.sum()


def test_no_restarts_is_the_clean_start() -> None:
    x, y = torch.rand(4, 1, 2, 3), torch.tensor([0, 1, 2, 0])
    ascent = compute_gradient_step(model, x, y, StepSettings(2))
    best = best_of_restarts(model, ascent, y, torch.arange(4), 0.1, restarts=0, seed=0)
    assert torch.equal(best.x_adv, fgsm(model, x, y, 0.1, norm=2))
