"""Restarts are merged image by image."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from robustbench_fgsm.attack.fgsm import StepSettings, compute_gradient_step, fgsm
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.attack.restarts import best_of_restarts, evaluate_restart


@pytest.mark.parametrize("targeted", [False, True])
def test_chooses_the_best_restart_per_image(wavy_model: Callable[[Tensor], Tensor], targeted: bool) -> None:
    x, ids = torch.rand(40, 1, 2, 3), torch.arange(40)
    y = (wavy_model(x).argmax(1) + int(targeted)) % 3
    settings = StepSettings(math.inf, targeted)
    step = compute_gradient_step(wavy_model, x, y, settings)
    attempts = [evaluate_restart(wavy_model, step.perturb(0.03), y, settings)]
    for restart in (1, 2, 3):
        start = random_start(x, ids, 0.03, restart=restart)
        attempts.append(evaluate_restart(wavy_model, fgsm(wavy_model, x, y, 0.03, targeted=targeted, start=start), y, settings))
    best = best_of_restarts(wavy_model, step, y, ids, 0.03, restarts=3, seed=0)
    for i in range(40):
        # fooled first, then highest loss, then the first of equals
        ranked = [(bool(a.fooled[i]), float(a.loss[i]), -r) for r, a in enumerate(attempts)]
        chosen = attempts[-max(ranked)[2]]
        assert torch.equal(best.x_adv[i], chosen.x_adv[i])
    assert best.fooled.sum() > attempts[0].fooled.sum()


def test_no_restarts_is_the_clean_start(wavy_model: Callable[[Tensor], Tensor]) -> None:
    x, y = torch.rand(4, 1, 2, 3), torch.tensor([0, 1, 2, 0])
    step = compute_gradient_step(wavy_model, x, y, StepSettings(2))
    best = best_of_restarts(wavy_model, step, y, torch.arange(4), 0.1, restarts=0, seed=0)
    assert torch.equal(best.x_adv, fgsm(wavy_model, x, y, 0.1, norm=2))
