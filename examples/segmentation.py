"""Attack a small segmentation network: robust pixel accuracy, with an interval in which each image is one cluster.

python examples/segmentation.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf

CLASSES = 3
"""Background, lower half of the garment, upper half."""


def make_masks(x: Tensor) -> Tensor:
    """Return a class for each pixel (N, H, W): 0 where the image is dark, 2 in the upper half, else 1."""
    upper = torch.arange(x.shape[2]).view(1, -1, 1) < x.shape[2] // 2
    return torch.where(x[:, 0] < 0.2, 0, torch.where(upper, 2, 1))


def pixel_loss(outputs: Tensor, masks: Tensor) -> Tensor:
    """Return the mean cross-entropy of the pixels of each image (N,)."""
    return functional.cross_entropy(outputs, masks, reduction="none").flatten(1).mean(1)


def train_segmenter(x: Tensor, masks: Tensor) -> nn.Module:
    """Return a small convolutional network, trained for a few epochs."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 7, padding=3), nn.ReLU(), nn.Conv2d(8, 8, 7, padding=3), nn.ReLU(), nn.Conv2d(8, CLASSES, 1)
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(6):
        for rows in torch.randperm(len(x)).split(50):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            pixel_loss(network(x[rows]), masks[rows]).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network


def main() -> None:
    images = rf.load_data("fashion-mnist", limit=700)
    x = next(images.batches(0, 700, 700)).images
    masks = make_masks(x)
    network = train_segmenter(x[:500], masks[:500])
    x, masks = x[500:], masks[500:]
    for levels in (0, 1, 2, 4, 8):
        x_adv = rf.fgsm(network, x, masks, levels / 255, loss=pixel_loss)
        right = (network(x_adv).argmax(1) == masks).flatten(1)
        low, high = rf.clustered_interval(right.sum(1), [right.shape[1]] * len(right))
        print(f"{levels}/255: {right.float().mean():.1%} of the pixels are right [{low:.1%}, {high:.1%}], n = {len(right)} images")


if __name__ == "__main__":
    main()
