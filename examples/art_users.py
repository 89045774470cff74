"""Run an ART script with one changed import: train a small network, attack it, and count right predictions.

python examples/art_users.py
"""

from __future__ import annotations

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from robustbench_fgsm import load_data
from robustbench_fgsm.art import FastGradientMethod  # was: from art.attacks.evasion import FastGradientMethod


def main() -> None:
    batch = next(load_data("fashion-mnist", limit=2000).batches(0, 2000, 2000))
    x, y = batch.images.numpy(), batch.labels.numpy()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 10))
    classifier = PyTorchClassifier(
        network,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        optimizer=torch.optim.Adam(network.parameters(), lr=0.005),
        clip_values=(0.0, 1.0),
    )
    classifier.fit(x[:1500], np.eye(10, dtype=np.float32)[y[:1500]], batch_size=64, nb_epochs=5)
    x_adv = FastGradientMethod(classifier, eps=0.05).generate(x[1500:], y[1500:])
    for name, images in (("before", x[1500:]), ("after", x_adv)):
        right = int((classifier.predict(images).argmax(1) == y[1500:]).sum())
        print(f"right {name} the attack: {right} of {len(images)}")


if __name__ == "__main__":
    main()
