"""Attack a network on a table whose features have different units: bounds and epsilon of each feature.

python examples/table.py
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf

EPSILON = 0.05
"""Share of the range of each feature."""


def train_network(x: Tensor, y: Tensor) -> nn.Module:
    """Return a small network, trained on standardised features (N, F)."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(x.shape[1], 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def main() -> None:
    """Print the accuracy before the attack, after steps in shares of the ranges, and after steps of own sizes."""
    table = load_breast_cancer()
    x, y = table.data.astype(np.float32), table.target
    low, high, mean, std = x.min(axis=0), x.max(axis=0), x.mean(axis=0), x.std(axis=0)
    network = train_network(torch.tensor((x - mean) / std), torch.tensor(y))
    classifier = rf.wrap(network, 2, mean=mean.tolist(), std=std.tolist(), bounds=(low, high), classes=table.target_names)

    shares = rf.evaluate(classifier, (x, y), epsilon=EPSILON, epsilon_scale="range")
    fixed = np.char.startswith(table.feature_names, "mean")  # features that an attacker cannot change
    own = rf.evaluate(classifier, (x, y), epsilon=1, epsilon_scale=np.where(fixed, 0, 0.2 * std))
    for name, rate in {
        "before": shares.clean_accuracy,
        f"after {EPSILON:.0%} of each range": shares.tallies[0].robust_accuracy,
        "after a fifth of the deviation of 20 features": own.tallies[0].robust_accuracy,
    }.items():
        print(f"right {name}: {rate}")
    comparison = rf.compare(classifier, (x, y), epsilon=EPSILON, epsilon_scale="range")
    print(f"ours and ART: {comparison.verdict}")


if __name__ == "__main__":
    main()
