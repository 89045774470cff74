"""Attack a small network of several labels for each image: exact match, Hamming loss, and each label.

python examples/multi_label.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import robustbench_fgsm as rf

NAMES = ("dark", "wide", "tall", "symmetric")


def make_labels(x: Tensor) -> Tensor:
    """Return multi-hot labels (N, 4) that a look at the garment gives."""
    bright = x[:, 0] > 0.3
    wide, tall = bright.any(1).sum(1) > 20, bright.any(2).sum(1) > 24
    symmetric = (x - x.flip(3)).abs().flatten(1).mean(1) < 0.08
    return torch.stack([x.flatten(1).mean(1) < 0.25, wide, tall, symmetric], 1).long()


def train_heads(x: Tensor, y: Tensor) -> nn.Module:
    """Return a small network with one sigmoid for each label, trained for a few epochs."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, len(NAMES)), nn.Sigmoid())
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(20):
        for rows in torch.randperm(len(x)).split(50):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy(network(x[rows]), y[rows].float()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network


def main() -> None:
    x = next(rf.load_data("fashion-mnist", limit=1500).batches(0, 1500, 1500)).images
    y = make_labels(x)
    classifier = rf.wrap(train_heads(x[:1000], y[:1000]), len(NAMES), task="multilabel", classes=NAMES)
    (found,) = rf.sweep(classifier, (x[1000:], y[1000:]), "1,4,8/255")
    for epsilon, tally in zip(found.attack.epsilons, found.tallies, strict=True):
        assert tally.label_rates is not None
        loss = tally.label_rates.robust_accuracy.complement()
        wrong = f"Hamming loss {loss.count:,} of {loss.n:,} labels"
        print(f"epsilon {epsilon * 255:.0f}/255: exact match {tally.robust_accuracy}, {wrong}")
        for label in tally.per_class(NAMES):
            print(f"  {label.name}: right {label.robust_accuracy}, fooled {label.attack_success_rate}")


if __name__ == "__main__":
    main()
