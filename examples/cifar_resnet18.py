"""A ResNet-18 for 32 x 32 images, and images of that size, drawn and not downloaded: for speed, not for accuracy.

The stem is the one that is usual for CIFAR: 3 x 3 with stride 1, and no pooling after it. Labels are the network's own
predictions, so that an attack has something to spoil, and implementations something to agree on.

python examples/cifar_resnet18.py
rfgsm benchmark --model factory:examples/cifar_resnet18.py:network --data factory:examples/cifar_resnet18.py:images
"""

from __future__ import annotations

import torch
import torchvision
from torch import nn

import robustbench_fgsm as rf

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGES = 1024


def network() -> rf.TorchClassifier:
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(num_classes=len(CLASSES))
    resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    resnet.maxpool = nn.Identity()
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return rf.wrap(resnet, len(CLASSES), mean=mean, std=std, classes=CLASSES)


def images(count: int = IMAGES) -> rf.ArrayDataset:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    pixels = nn.functional.interpolate(coarse, size=32, mode="bilinear")
    classifier = network()
    labels = torch.cat([classifier.predict(some).argmax(1) for some in pixels.split(64)])
    return rf.ArrayDataset("cifar-shaped", (pixels * 255).round().to(torch.uint8), labels, CLASSES)


def main() -> None:
    found = rf.benchmark(network(), images(64), "8/255", references=[], rounds=3, memory=False, batch_size=32)
    for contender in found.to_dict()["contenders"]:
        job = next(timing for timing in contender["timings"] if timing["task"] == "job")
        print(f"{contender['name']}: {job['seconds']['median']:.2f} s, {job['ratio']['median']:.2f} times the unit")


if __name__ == "__main__":
    main()
