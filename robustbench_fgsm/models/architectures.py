"""Architectures of the bundled weights: networks from pixel space to logits, without weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class MLP(nn.Module):
    """Network with one hidden layer: flatten, linear, ReLU, dropout, linear. The original study used widths 300, 600 and 900."""

    def __init__(self, hidden: int, *, inputs: int = 28 * 28, num_classes: int = 10, dropout: float = 0.2) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, ...)."""
        logits: Tensor = self.output(self.dropout(self.hidden(x.flatten(1)).relu()))
        return logits


class SmallCNN(nn.Module):
    """Six 3x3 convolutions with batch norm and average pooling: 204,778 parameters for one channel and ten classes.

    Max-pooling over a flat background must choose one of equal pixels, and the sign of the input gradient then depends on that
    choice. Average pooling has no such ties.
    """

    def __init__(self, *, channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        before = channels
        for width, pool in ((32, False), (32, True), (64, False), (64, True), (96, False), (96, False)):
            blocks += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            if pool:
                blocks.append(nn.AvgPool2d(2))
            before = width
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.output = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, channels, H, W)."""
        logits: Tensor = self.output(self.pool(self.features(x)).flatten(1))
        return logits


def _resnet18(num_classes: int = 10) -> nn.Module:
    from torchvision.models import resnet18

    network: nn.Module = resnet18(num_classes=num_classes)
    return network


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "resnet18": _resnet18,
    "smallcnn": SmallCNN,
    "mlp300": partial(MLP, 300),
    "mlp600": partial(MLP, 600),
    "mlp900": partial(MLP, 900),
}
