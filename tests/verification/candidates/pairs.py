"""Pairs of faults in two stages: CASES holds 60 pairs, each of another combination of faults, for `judge.py`."""

# ruff: noqa: N812

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.verification.candidates.building_blocks import Candidate, gradient, one_hot, rows


@dataclass(frozen=True)
class Stages:
    """FGSM whose stages are functions, each right by default."""

    loss: Any = F.cross_entropy
    labels: Any = lambda model, x, y: y
    direction: Any = torch.sign
    size: Any = lambda epsilon: epsilon
    clip: Any = lambda x_adv, x: x_adv.clamp(0, 1)
    output: Any = lambda x_adv: x_adv
    steps: int = 1
    randomness: Any = lambda direction: direction
    conduct: Any = lambda model, x: None

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        labels = self.labels(model, x, y)
        x_adv = x.detach().clone()
        for _ in range(self.steps):
            direction = self.randomness(self.direction(gradient(model, x_adv, labels, self.loss)))
            x_adv = self.clip(x_adv + self.size(epsilon) / self.steps * direction, x.detach())
        output: Tensor = self.output(x_adv)
        self.conduct(model, x)
        return output


def l2(g: Tensor) -> Tensor:
    """Return the gradient divided by its L2 norm."""
    return g / rows(g.flatten(1).norm(dim=1)).clamp_min(1e-30)


def set_seed(model: Any, x: Tensor) -> None:
    torch.manual_seed(0)


def brighten(model: Any, x: Tensor) -> None:
    with torch.no_grad():
        x.mul_(0.9).add_(0.05)


def leave_train_mode(model: Any, x: Tensor) -> None:
    model.train()


FAULTS: dict[str, dict[str, Any]] = {
    "loss": {
        "softmax_twice": lambda z, y: F.cross_entropy(z.softmax(1), y),
        "mse_of_logits": lambda z, y: F.mse_loss(z, one_hot(z, y)),
        "label_smoothing": lambda z, y: F.cross_entropy(z, y, label_smoothing=0.2),
        "nll_of_logits": F.nll_loss,
    },
    "labels": {
        "own_predictions": lambda model, x, y: model(x).argmax(1),
        "class_1": lambda model, x, y: torch.ones_like(y),
        "next_class": lambda model, x, y: (y + 1) % model(x[:1]).shape[1],
    },
    "direction": {
        "l2": l2,
        "threshold": lambda g: torch.where(g.abs() > 1e-6, g.sign(), 0.0),
        "zeros_up": lambda g: torch.where(g >= 0, 1.0, -1.0),
        "smoothed": lambda g: F.avg_pool2d(g, 3, 1, 1).sign(),
    },
    "size": {
        "halved": lambda epsilon: epsilon / 2,
        "doubled": lambda epsilon: 2 * epsilon,
        "capped": lambda epsilon: min(epsilon, 0.1),
        "level_more": lambda epsilon: epsilon + 1 / 255,
    },
    "clip": {
        "none": lambda x_adv, x: x_adv,
        "low_only": lambda x_adv, x: x_adv.clamp(min=0),
        "batch": lambda x_adv, x: x_adv.clamp(x.min(), x.max()),
        "margin": lambda x_adv, x: x_adv.clamp(0.02, 0.98),
    },
    "output": {
        "rounded": lambda x_adv: (x_adv * 255).round() / 255,
        "half": lambda x_adv: x_adv.half().float(),
        "bgr": lambda x_adv: x_adv.flip(1),
    },
    "steps": {"two": 2, "ten": 10},
    "randomness": {
        "turned_signs": lambda direction: direction * torch.where(torch.rand_like(direction) < 0.05, -1.0, 1.0),
        "noise": lambda direction: direction + 0.3 * torch.randn_like(direction),
    },
    "conduct": {"seed": set_seed, "brightened_input": brighten, "train_mode": leave_train_mode},
}

VISIBLE_ELSEWHERE = {"direction": {"size"}, "randomness": {"direction", "size", "output", "steps"}}
"""Stages in which a fault of another stage may be seen too."""

OPTIONAL_BY_FAULT = {
    "bgr": {"direction", "size", "clip"},
    "train_mode": {"randomness", "loss", "direction"},
    "batch": {"conduct"},
    "threshold": {"conduct"},
    "seed": {"randomness"},
}
"""Stages in which one fault may be seen too."""


def make_pairs(count: int, seed: int = 0) -> tuple[dict[str, tuple[Candidate, list[str]]], dict[str, set[str]]]:
    """Return candidates with two faults and their wrong stages, and the stages that may be called wrong or right."""
    cases: dict[str, tuple[Candidate, list[str]]] = {}
    optional: dict[str, set[str]] = {}
    faults = [(stage, name) for stage, found in FAULTS.items() for name in found]
    pairs = [(a, b) for a, b in itertools.combinations(faults, 2) if a[0] != b[0]]
    for first, second in random.Random(seed).sample(pairs, count):
        name = f"pair_{first[0]}_{first[1]}_{second[0]}_{second[1]}"
        cases[name] = (
            replace(Stages(), **{stage: FAULTS[stage][fault] for stage, fault in (first, second)}),
            [first[0], second[0]],
        )
        optional[name] = set()
        for stage, fault in (first, second):
            optional[name] |= VISIBLE_ELSEWHERE.get(stage, set()) | OPTIONAL_BY_FAULT.get(fault, set())
    return cases, optional


CASES, OPTIONAL = make_pairs(60)
