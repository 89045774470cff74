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
    choice. Average pooling has no ties.
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


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, arXiv:1512.03385); layers are named as torchvision names them."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        stride, shortcut = (1, None) if before == width else (2, _strided_projection(before, width))
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, width, H, W), or of half the height and width."""
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        residual += shortcut
        features: Tensor = self.relu(residual)
        return features


def _strided_projection(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width))


def _two_blocks(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(before, width), ResidualBlock(width, width))


class ResNet18(nn.Module):
    """torchvision's `resnet18` with its weights' names and initial values, without the second that importing torchvision takes."""

    def __init__(self, *, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _two_blocks(64, 64)
        self.layer2 = _two_blocks(64, 128)
        self.layer3 = _two_blocks(128, 256)
        self.layer4 = _two_blocks(256, 512)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, 3, H, W)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "resnet18": ResNet18,
    "smallcnn": SmallCNN,
    "mlp300": partial(MLP, 300),
    "mlp600": partial(MLP, 600),
    "mlp900": partial(MLP, 900),
}
