"""Train a network for too long: the ordinary FGSM of every library is then too weak, and stable gradients are not.

The package has the test split only. The network is trained and attacked on this split, so its accuracy means nothing. It is
trained without dropout until it is sure of most images.

python examples/saturated_network.py
"""

from __future__ import annotations

import torch
from torch import nn

import robustbench_fgsm as rf


def train(images: rf.Dataset, epochs: int = 100) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(epochs):
        for batch in images.batches(0, len(images), 100):
            loss = nn.functional.cross_entropy(network(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network


def main() -> None:
    images = rf.load_data("fashion-mnist", limit=500)
    classifier = rf.wrap(train(images), num_classes=10, classes=images.classes)
    evaluation = rf.evaluate(classifier, images, epsilon=30 / 255)
    ordinary, stable = evaluation.tallies[0], evaluation.stable[0]
    print(f"saturated: {rf.Rate(ordinary.saturated, ordinary.n)} of {evaluation.n} images")
    print(f"right before: {evaluation.clean_accuracy}")
    print(f"right after, ordinary gradient: {ordinary.robust_accuracy}")
    print(f"right after, stable gradient if saturated: {stable.robust_accuracy}")


if __name__ == "__main__":
    main()
