"""Catastrophic overfitting where it happens: the monitor names it in its epoch, and is silent on healthy networks.

Found by search: on Fashion-MNIST at 14 x 14 and epsilon 0.16 a network of two hidden layers overfitted under `fgsm` in 8
seeds of 8, and under `n-fgsm` in none.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.training.watch import find_catastrophic_overfitting

pytestmark = pytest.mark.reference

SEEDS = range(5)
HELD = 128


@pytest.fixture(scope="module")
def clothes() -> rf.ArrayDataset:
    """4,000 images (1, 14, 14) to train on, and some to hold out."""
    bundled = rf.load_data("fashion-mnist", limit=4000 + HELD)
    batch = next(bundled.batches(0, len(bundled), len(bundled)))
    return rf.ArrayDataset("small", nn.functional.avg_pool2d(batch.images, 2), batch.labels, bundled.classes)


def learn(clothes: rf.ArrayDataset, method: str, epsilon: float, seed: int, epochs: int = 4) -> rf.Training:
    """A small network trained from the seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(196, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 10))
    return rf.train(
        rf.wrap(network, 10, device="cpu"),
        clothes,
        method=method,
        epsilon=epsilon,
        epochs=epochs,
        batch_size=32,
        learning_rate=0.003,
        held_out=HELD,
        seed=seed,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_fgsm_overfits_at_a_large_epsilon(clothes: rf.ArrayDataset, seed: int) -> None:
    training = learn(clothes, "fgsm", 0.16, seed)
    named = training.overfitting
    assert named is not None
    pairs = [(check.fgsm.count, check.pgd.count) for check in training.checks if check.fgsm and check.pgd]
    assert len(pairs) == len(training.checks) == 16
    low = [2 * pgd < fgsm for fgsm, pgd in pairs]
    fell = [False, *(before[1] - now[1] > 0.2 * HELD for before, now in pairwise(pairs))]
    at = (named.epoch - 1) * 4 + named.quarter - 1
    assert low[at] or fell[at]
    chance = HELD // 10
    earlier = [index for index in range(at) if (low[index] or fell[index]) and pairs[index][1] > 2 * chance]
    assert earlier == []
    assert not all(low[:at])
    assert low[-1]
    assert training.kept.pgd is not None
    assert training.kept.pgd.count == max(pgd for _, pgd in pairs)
    assert named.evidence in training.warnings[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_n_fgsm_does_not_overfit(clothes: rf.ArrayDataset, seed: int) -> None:
    training = learn(clothes, "n-fgsm", 0.16, seed)
    assert training.overfitting is None
    last = training.checks[-1]
    assert last.fgsm is not None
    assert last.pgd is not None
    assert last.pgd.count > 0.25 * HELD
    assert 4 * last.pgd.count > 3 * last.fgsm.count


@pytest.mark.parametrize("method", ["standard", "fgsm", "fgsm-rs", "n-fgsm"])
def test_no_false_alarm_at_small_epsilon(clothes: rf.ArrayDataset, method: str) -> None:
    assert find_catastrophic_overfitting(learn(clothes, method, 4 / 255, 0, epochs=2).checks, 10) is None
