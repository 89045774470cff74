"""Networks of the test bench: their gradient is known, and they record how a candidate calls them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import ChannelStatistic, PixelSpaceNetwork
from robustbench_fgsm.verification.call_recorder import CallRecorder

LOGIT_STD = 1.5
"""Standard deviation of the logits, at which the network is confident on some images only."""

Shape = tuple[int, int, int]


class LinearLayer(nn.Module):
    """Logits W (x - 0.5) + b, whose gradient is W transposed times the gradient of the loss with respect to the logits.

    Args:
        weight: (K, C, H, W).
        bias: (K,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        return nn.functional.linear((x - 0.5).flatten(1), self.weight.flatten(1), self.bias)


class FixedGradientNetwork(nn.Module):
    """Network whose logits never change, and whose gradient lies along one known vector whatever the loss is.

    Logits are `bias + coefficients * (t - t.detach())` with `t` the dot product of the vector and the image. A pixel that has moved
    by its turning distance or more has the opposite gradient.

    Args:
        vector: (C, H, W) gradient of t.
        coefficients: (K,).
        bias: (K,).
        turning_distance: (C, H, W) distance from 0.5 at which the gradient turns; None if it never turns.
    """

    turning_distance: Tensor | None

    def __init__(self, vector: Tensor, coefficients: Tensor, bias: Tensor, turning_distance: Tensor | None = None) -> None:
        super().__init__()
        self.vector = nn.Parameter(vector)
        self.coefficients = nn.Parameter(coefficients)
        self.bias = nn.Parameter(bias)
        self.register_buffer("turning_distance", turning_distance)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K), which equal the bias for all images."""
        slope: Tensor = self.vector
        if self.turning_distance is not None:
            slope = slope * torch.where((x.detach() - 0.5).abs() < self.turning_distance, 1.0, -1.0)
        total = (x * slope).flatten(1).sum(1, keepdim=True)
        return self.bias + self.coefficients * (total - total.detach())


class WaveLayer(nn.Module):
    """Logits W phi(x) with phi(x) = (x - 0.5) + a sin(w (x - 0.5) + phase) / w, pixel by pixel.

    The gradient of a pixel turns again and again on its way, each pixel at places of its own, so that it tells where it was taken.

    Args:
        weight: (K, C, H, W).
        phase: (C, H, W) in radians.
        frequency: w, in radians per unit of the pixels.
        amplitude: weight of the waves; above 1 they turn the gradient.
    """

    def __init__(self, weight: Tensor, phase: Tensor, frequency: float, amplitude: float = 1.6) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.register_buffer("phase", phase)
        self.frequency = frequency
        self.amplitude = amplitude

    phase: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        places = x - 0.5
        waves = places + self.amplitude * torch.sin(self.frequency * places + self.phase) / self.frequency
        return nn.functional.linear(waves.flatten(1), self.weight.flatten(1))


class SmallTransformer(nn.Module):
    """A transformer over patches of 8 x 8 pixels."""

    def __init__(self, shape: Shape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.patches = nn.Conv2d(channels, 16, 8, stride=8)
        self.positions = nn.Parameter(0.1 * torch.randn(1, (height // 8) * (width // 8), 16))
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        tokens = self.norm(tokens + attended)
        logits: Tensor = self.head((tokens + self.mlp(tokens)).mean(1))
        return logits


class ConstantOnDarkImages(nn.Module):
    """A network whose logits are constant on dark images, so that their gradient is exactly 0; the last class is the largest."""

    def __init__(self, network: nn.Module, threshold: float = 0.25) -> None:
        super().__init__()
        self.network = network
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        logits: Tensor = self.network(x)
        is_bright = x.detach().flatten(1).mean(1, keepdim=True) > self.threshold
        return torch.where(is_bright, logits, torch.arange(logits.shape[1], dtype=logits.dtype))


class InfiniteGradientAtZero(nn.Module):
    """A network whose first logit adds the square root of the image's sum, which is not differentiable at 0."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        logits: Tensor = self.network(x)
        return torch.cat([logits[:, :1] + 0.01 * x.flatten(1).sum(1, keepdim=True).sqrt(), logits[:, 1:]], 1)


def in_pixel_space(
    network: nn.Module, mean: ChannelStatistic | None = None, std: ChannelStatistic | None = None
) -> PixelSpaceNetwork:
    """Return the network that a candidate receives: normalisation first, then a recorder of forward passes."""
    return PixelSpaceNetwork(CallRecorder(network), mean, std).eval()


def random_linear(shape: Shape, num_classes: int, seed: int, *, unseen_columns: int = 0) -> LinearLayer:
    """Return a linear network with random rows, and weights of 0 for the last columns of the images."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(num_classes, *shape, generator=generator)
    weight *= 2 * LOGIT_STD / weight[0].numel() ** 0.5  # images of random pixels in [0.3, 0.7], normalised, have a std of about 0.5
    if unseen_columns:
        weight[..., -unseen_columns:] = 0.0
    return LinearLayer(weight, torch.zeros(num_classes))


def fixed_gradient(vector: Tensor, num_classes: int, turning_distance: Tensor | None = None) -> FixedGradientNetwork:
    """Return a network with this gradient; the labels decide its sign."""
    places = torch.arange(num_classes)
    coefficients = torch.where(places % 2 == 0, 1.0, -1.0) * (1 + places % 5 / 5) + 0.35  # their sum is not 0
    return FixedGradientNetwork(vector, coefficients, 0.3 * torch.cos(1.7 * places), turning_distance)


def convolutional(shape: Shape, num_classes: int, *, batch_norm: bool = False, dropout: float = 0.0) -> nn.Sequential:
    """Return a network with two convolutions."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], 8, 3, padding=1)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(8))
    layers += [nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(12 * 16, num_classes))


def build_seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that this seed gives, with batch statistics that no batch of images has."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.2, 1.5)
    return network.eval()
