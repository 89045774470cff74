"""Small networks that show what an implementation does: untrained, each the same in every process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import ChannelStatistic, PixelSpaceNetwork
from robustbench_fgsm.verification.call_recorder import CallRecorder

IMAGE_SIZE = 8
NUM_CLASSES = 4
LOGIT_STD = 1.5
"""Standard deviation of the logits: sure of some images, and not of all."""


class Crop(nn.Module):
    """Images without their border, whose gradient is exactly zero there."""

    def forward(self, x: Tensor) -> Tensor:
        """All but the outermost pixels."""
        return x[..., 1:-1, 1:-1]


class ScaleDown(nn.Module):
    """Images so faint that their gradient is near the smallest number of float32, while the logits are ordinary ones."""

    def forward(self, x: Tensor) -> Tensor:
        """The images times 1e-44, in two steps that float32 can take back."""
        return (x * 1e-24) * 1e-20


class InfiniteGradientAtZero(nn.Module):
    """A body with the root of the image's sum added to its first logit: not differentiable where the sum is 0."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.body(x)
        return torch.cat([logits[:, :1] + 0.01 * x.flatten(1).sum(1, keepdim=True).sqrt(), logits[:, 1:]], 1)


def _convolutional_layers(channels: int, *, side: int, batch_norm: bool = False, dropout: float = 0.0) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(channels, 8, 3, padding=1)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(8))
    layers += [nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return [*layers, nn.Linear(12 * (side // 2) ** 2, NUM_CLASSES)]


def convolutional(channels: int, seed: int, *, batch_norm: bool = False, dropout: float = 0.0) -> nn.Sequential:
    """Two convolutions, as most networks in small."""
    return _build_seeded(
        seed, lambda: nn.Sequential(*_convolutional_layers(channels, side=IMAGE_SIZE, batch_norm=batch_norm, dropout=dropout))
    )


def cropped_convolutional(channels: int, seed: int) -> nn.Sequential:
    """The same behind a crop."""
    return _build_seeded(seed, lambda: nn.Sequential(Crop(), *_convolutional_layers(channels, side=IMAGE_SIZE - 2)))


def two_layer_mlp(channels: int, seed: int) -> nn.Sequential:
    """Logits of smooth units of all pixels."""
    size = channels * IMAGE_SIZE**2
    return _build_seeded(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(size, 16), nn.ReLU(), nn.Linear(16, NUM_CLASSES)))


def faint_linear(channels: int, seed: int) -> nn.Sequential:
    """A linear network of images that are made faint first; its bias makes the logits."""
    size = channels * IMAGE_SIZE**2
    network = _build_seeded(seed, lambda: nn.Sequential(ScaleDown(), nn.Flatten(), nn.Linear(size, NUM_CLASSES)))
    last = network[-1]
    assert isinstance(last, nn.Linear)  # noqa: S101  (it was put there one line above)
    with torch.no_grad():
        last.weight.copy_(last.weight.sign() * (1 + last.weight.abs()))
    return network


def _build_seeded(seed: int, build: Callable[[], nn.Sequential]) -> nn.Sequential:
    """The network as the seed makes it, with batch statistics that no batch of images has."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.2, 1.5)
    return network.eval()


def scale_logits(network: nn.Sequential, images: Tensor, logit_std: float = LOGIT_STD) -> nn.Sequential:
    """The same network with its last layer scaled and shifted, so that no class is far more likely and logits spread by gap."""
    last = network[-1]
    assert isinstance(last, nn.Linear)  # noqa: S101  (every network above ends in one)
    with torch.no_grad():
        logits = network(images)
        centre, scale = logits.mean(0), logit_std / logits.sub(logits.mean(0)).std()
        last.weight.mul_(scale)
        last.bias.sub_(centre).mul_(scale)
    return network


def in_pixel_space(body: nn.Module, mean: ChannelStatistic | None, std: ChannelStatistic | None) -> PixelSpaceNetwork:
    """The network as a candidate is given it: normalisation first, and a record of how it is called."""
    return PixelSpaceNetwork(CallRecorder(body), mean, std).eval()
