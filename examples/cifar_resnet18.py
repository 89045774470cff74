"""Make a ResNet-18 for 32 x 32 images, and random images of this size: to measure speed, not accuracy.

The stem is the usual one for CIFAR: 3 x 3 with stride 1, and no pooling after it. Labels are the network's own predictions, so
that an attack can change them and implementations can be compared.

python examples/cifar_resnet18.py
rfgsm benchmark --model factory:examples/cifar_resnet18.py:network --data factory:examples/cifar_resnet18.py:images
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

import robustbench_fgsm as rf

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def draw(count: int) -> Tensor:
    """Return smooth images (N, 3, 32, 32), uint8, from a fixed seed."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=32, mode="bilinear").mul(255).round().to(torch.uint8)


def network() -> rf.TorchClassifier:
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(num_classes=len(CLASSES)).eval()
    resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    resnet.maxpool = nn.Identity()
    classifier = rf.wrap(resnet, len(CLASSES), mean=MEAN, std=STD, classes=CLASSES)
    logits = classifier.predict(draw(64) / 255)
    with torch.no_grad():  # without this, random weights would give all images one class
        resnet.fc.bias -= logits.mean(0)
    return rf.wrap(resnet, len(CLASSES), mean=MEAN, std=STD, classes=CLASSES)


def images(count: int = 512) -> rf.ArrayDataset:
    classifier, drawn = network(), draw(count)
    labels = [classifier.predict(drawn[low : low + 64] / 255).argmax(1) for low in range(0, count, 64)]
    return rf.ArrayDataset("cifar-shaped", drawn, torch.cat(labels), CLASSES)


def main() -> None:
    found = rf.benchmark(network(), images(32), "8/255", references=[], rounds=2, memory=False, batch_size=32)
    for contender in found.to_dict()["contenders"]:
        job = next(timing for timing in contender["timings"] if timing["task"] == "job")
        print(f"{contender['name']}: {job['seconds']['median']:.2f} s, {job['ratio']['median']:.2f} times the unit")


if __name__ == "__main__":
    main()
