"""Print how many images stay right under a package's attacks, and under the right ones of the same methods: JSON, a line an attack.

python examples/wall/effect.py examples/wall/foolbox_adapter.py pgd --images 200
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

NETWORKS = {
    "mlp300": "standard",
    "mlp600": "standard",
    "mlp900": "standard",
    "smallcnn": "standard",
    "smallcnn robust": "robust",
    "resnet18": "standard",
}
"""Weights of each network; the first word of its name is the model."""
EPSILONS = (8, 16, 30)
SLOW_SHARE = {"smallcnn": 0.5, "smallcnn robust": 0.5, "resnet18": 0.25}
"""Share of the images that a network sees, if it is slow."""
SHORT = 0.95
"""A displacement is short if its L2 norm is below this share of that of the right attack."""

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


def attack_images(attack: Attack, model: torch.nn.Module, x: Tensor, y: Tensor, epsilon: float, size: int) -> Tensor:
    """Return the images after the attack, which sees `size` of them at a time."""
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    found = [attack(model, x[part].clone(), y[part].clone(), epsilon) for part in parts]
    return torch.cat([torch.as_tensor(one, dtype=torch.float32).detach() for one in found])


def measure(adapter: ModuleType, name: str, images: int) -> Iterator[dict[str, Any]]:
    """Yield one record for each network and epsilon: images that stay right, and images that move less far than they should."""
    claim = read_options(adapter.ATTACKS[name])
    right = right_attack(claim)
    for network, weights in NETWORKS.items():
        classifier = rf.load_classifier(network.split()[0], weights=weights)
        data = rf.load_data("fashion-mnist", limit=int(images * SLOW_SHARE.get(network, 1)))
        assert isinstance(classifier, rf.TorchClassifier)
        model = classifier.network
        (batch,) = data.batches(0, len(data), len(data))
        x, y = batch.images, batch.labels
        size = getattr(adapter, "BATCH_SIZES", {}).get(name, len(x))
        for numerator in EPSILONS:
            epsilon = numerator / 255 * (math.sqrt(x[0].numel()) if claim["norm"] == "2" else 1)
            theirs = attack_images(getattr(adapter, name), model, x, y, epsilon, size)
            ours = attack_images(right, model, x, y, epsilon, len(x))
            with torch.no_grad():
                robust, robust_right = (int((model(found).argmax(1) == y).sum()) for found in (theirs, ours))
            lengths, right_lengths = ((found - x).flatten(1).norm(dim=1) for found in (theirs, ours))
            yield {
                "network": network,
                "epsilon": f"{numerator}/255",
                "images": len(x),
                "robust": robust,
                "robust_right": robust_right,
                "short": int((lengths < SHORT * right_lengths).sum()),
            }


def main() -> None:
    """Load the adapter, measure its attacks, and print a line for each: what was measured, or the error that it raised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("attacks", nargs="*", help="names; all if left out")
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("adapter", arguments.adapter)
    assert spec is not None
    assert spec.loader is not None
    adapter = importlib.util.module_from_spec(spec)
    sys.path.pop(0)
    spec.loader.exec_module(adapter)
    for name in arguments.attacks or adapter.ATTACKS:
        line: dict[str, Any] = {"attack": name}
        try:
            line["effect"] = list(measure(adapter, name, arguments.images))
        except Exception as error:  # noqa: BLE001  (whatever a package raises is reported)
            line["effect_error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
