"""Optimizer and learning-rate schedule of a recipe."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from robustbench_fgsm.training.optimizer import build_optimizer
from robustbench_fgsm.training.recipe import TrainingRecipe


def learning_rates(schedule: str, steps: int = 10) -> list[float]:
    optimizer, scheduler = build_optimizer(nn.Linear(2, 2), TrainingRecipe(schedule=schedule, learning_rate=0.5), steps)
    rates = []
    for _ in range(steps):
        rates.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    return rates


def test_adam_with_weight_decay() -> None:
    optimizer, _ = build_optimizer(nn.Linear(2, 2), TrainingRecipe(weight_decay=0.25), 10)
    assert isinstance(optimizer, Adam)
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


def test_sgd_has_nesterov_momentum() -> None:
    optimizer, _ = build_optimizer(nn.Linear(2, 2), TrainingRecipe(optimizer="sgd", schedule="constant"), 10)
    assert isinstance(optimizer, SGD)
    assert (optimizer.param_groups[0]["momentum"], optimizer.param_groups[0]["nesterov"]) == (0.9, True)


def test_constant_rate() -> None:
    assert learning_rates("constant") == [0.5] * 10


def test_cosine_falls() -> None:
    rates = learning_rates("cosine")
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert torch.isclose(torch.tensor(rates[5]), torch.tensor(0.25))  # half way: (1 + cos(pi / 2)) / 2


def test_one_cycle_peaks_after_three_tenths() -> None:
    rates = learning_rates("one-cycle", 100)
    assert max(rates) == pytest.approx(0.5)
    assert abs(rates.index(max(rates)) - 30) <= 1
