"""robustness, the library of the MadryLab."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

INSTALL = ["robustness=={version}"]
ATTACKS = {
    "fgsm": "--method fgsm",
    "pgd": "--method pgd --steps 10 --step-size 0.25 --random-start",
    "pgd_l2": "--method pgd --norm 2 --steps 10 --step-size 0.25 --random-start",
}


def _attack(model: nn.Module, x: Tensor, y: Tensor, **settings) -> Tensor:
    from robustness.attacker import Attacker

    channels = x.shape[1]
    statistics = SimpleNamespace(mean=torch.zeros(channels), std=torch.ones(channels))
    return Attacker(model, statistics)(x, y, use_best=False, should_normalize=False, **settings)


def fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run Attacker with one step of eps and constraint inf."""
    return _attack(model, x, y, constraint="inf", eps=eps, step_size=eps, iterations=1)


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run Attacker with constraint inf: 10 steps of eps / 4 from a random start."""
    return _attack(model, x, y, constraint="inf", eps=eps, step_size=eps / 4, iterations=10, random_start=True)


def pgd_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Run Attacker with constraint 2: 10 steps of eps / 4 from a random start."""
    return _attack(model, x, y, constraint="2", eps=eps, step_size=eps / 4, iterations=10, random_start=True)
