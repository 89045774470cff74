"""Make a robust accuracy with a known mistake, epsilon in the units of normalised images, and find the mistake.

python examples/explain_a_number.py
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

import robustbench_fgsm as rf

MEAN, STD = 0.2860, 0.3530


def reported_accuracy(network: nn.Module, images: rf.Dataset, epsilon: float) -> float:
    """Return the accuracy after a wrong attack: images are normalised first, and epsilon is added to normalised pixels."""
    right = 0
    for batch in images:
        z = ((batch.images - MEAN) / STD).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(network(z), batch.labels), z)
        moved = (z.detach() + epsilon * gradient.sign()).clamp(-MEAN / STD, (1 - MEAN) / STD)
        right += int((network(moved).argmax(1) == batch.labels).sum())
    return right / len(images)


def train(images: rf.Dataset) -> nn.Module:
    """Return a linear network after a few training steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for batch in images:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network((batch.images - MEAN) / STD), batch.labels)
        torch.autograd.backward(loss)
        optimizer.step()
    return network.eval()


def main() -> None:
    images = rf.load_data("fashion-mnist", limit=2000)
    network = train(images)
    number = f"{reported_accuracy(network, images, 8 / 255):.4f}"
    print(f"reported robust accuracy at 8/255: {number}")

    classifier = rf.wrap(network, 10, mean=MEAN, std=STD, classes=images.classes)
    explanation = rf.explain(classifier, images, number, epsilon=8 / 255)
    print("honest figures:")
    for found in explanation.honest:
        print(f"  {found.definition:20} {found.rate}")
    print("combinations that fit, with their distance:")
    for found in explanation.explanations:
        if found.fits:
            print(f"  {found.definition:20} {found.rate}, distance {found.distance:.4f}: {found.variant.name}")


if __name__ == "__main__":
    main()
