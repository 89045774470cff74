"""Print how many images stay right under a package's attack, and under the right one of the same method, as JSON.

python examples/wall/effect.py examples/wall/foolbox_adapter.py pgd --images 500
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import robustbench_fgsm as rf
from robustbench_fgsm.attack.random_start import random_start

NETWORKS = ("mlp300", "smallcnn")
EPSILONS = (8, 16, 30)
BATCH_SIZE = 250

Attack = Callable[[torch.nn.Module, Tensor, Tensor, float], Any]


def read_options(text: str) -> dict[str, Any]:
    """Return the method, norm, steps and step size (a share of epsilon) that an adapter claims."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--method")
    parser.add_argument("--norm", default="inf")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--step-size", type=float)
    parser.add_argument("--random-start", action="store_true")
    return vars(parser.parse_args(text.split()))


def right_attack(claim: dict[str, Any]) -> Attack:
    """Return our attack of the claimed method."""
    method, norm, share = claim["method"], claim["norm"], claim["step_size"]

    def attack(model: torch.nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        size = None if share is None else share * epsilon
        if method in ("fgsm", "fgm"):
            return rf.fgsm(model, x, y, epsilon, norm=norm)
        if method == "bim":
            return rf.bim(model, x, y, epsilon, norm=norm, steps=claim["steps"], step_size=size)
        if method == "mi-fgsm":
            return rf.mi_fgsm(model, x, y, epsilon, norm=norm, steps=claim["steps"], step_size=size)
        if method == "fgsm-rs":
            return rf.pgd(model, x, y, epsilon, steps=1, step_size=1.25 * epsilon if size is None else size)
        if method == "r+fgsm":
            start = random_start(x, torch.arange(len(x)), epsilon / 2, distribution="sign")
            return rf.bim(model, x, y, epsilon, steps=1, step_size=epsilon / 2, start=start)
        return rf.pgd(model, x, y, epsilon, norm=norm, steps=claim["steps"], step_size=size)

    return attack


def count_robust(attack: Attack, model: torch.nn.Module, batches: list[tuple[Tensor, Tensor]], epsilon: float) -> int:
    """Return how many images the network still classifies right after the attack."""
    right = 0
    for x, y in batches:
        x_adv = torch.as_tensor(attack(model, x.clone(), y.clone(), epsilon), dtype=torch.float32)
        with torch.no_grad():
            right += int((model(x_adv).argmax(1) == y).sum())
    return right


def measure(adapter: ModuleType, name: str, images: int) -> Iterator[dict[str, Any]]:
    """Yield one record for each network and epsilon."""
    claim = read_options(adapter.ATTACKS[name])
    for network in NETWORKS:
        classifier, data = rf.load_classifier(network), rf.load_data("fashion-mnist", limit=images)
        assert isinstance(classifier, rf.TorchClassifier)
        model = classifier.network
        batches = [(b.images, b.labels) for b in data.batches(0, len(data), BATCH_SIZE)]
        pixels = batches[0][0][0].numel()
        for numerator in EPSILONS:
            epsilon = numerator / 255 * (math.sqrt(pixels) if claim["norm"] == "2" else 1)
            yield {
                "network": network,
                "epsilon": f"{numerator}/255",
                "images": len(data),
                "robust": count_robust(getattr(adapter, name), model, batches, epsilon),
                "robust_right": count_robust(right_attack(claim), model, batches, epsilon),
            }


def main() -> None:
    """Load the adapter, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("attack")
    parser.add_argument("--images", type=int, default=500)
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("adapter", arguments.adapter)
    assert spec is not None
    assert spec.loader is not None
    adapter = importlib.util.module_from_spec(spec)
    sys.path.pop(0)
    spec.loader.exec_module(adapter)
    print(json.dumps(list(measure(adapter, arguments.attack, arguments.images))))


if __name__ == "__main__":
    main()
