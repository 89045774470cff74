"""Small networks that reveal what an implementation does: untrained, and equal in every process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import ChannelStatistic, PixelSpaceNetwork
from robustbench_fgsm.verification.call_recorder import CallRecorder

IMAGE_SIZE = 8
NUM_CLASSES = 4
LOGIT_STD = 1.5
"""Standard deviation of the logits, at which the network is confident on some images only."""


class Crop(nn.Module):
    """A layer that removes the border of images, where the gradient is then exactly zero."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the images without their outermost pixels."""
        return x[..., 1:-1, 1:-1]


class ScaleDown(nn.Module):
    """A layer that makes gradients nearly as small as the smallest float32 number, while logits remain ordinary."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the images times 1e-44, in two steps that float32 can propagate back."""
        return (x * 1e-24) * 1e-20


class InfiniteGradientAtZero(nn.Module):
    """A body whose first logit adds the square root of the image's sum, which is not differentiable at 0."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K)."""
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
    """Return a network with two convolutions."""
    return _build_seeded(seed, lambda: _convolutional_layers(channels, side=IMAGE_SIZE, batch_norm=batch_norm, dropout=dropout))


def cropped_convolutional(channels: int, seed: int) -> nn.Sequential:
    """Return a network with a crop and two convolutions."""
    return _build_seeded(seed, lambda: [Crop(), *_convolutional_layers(channels, side=IMAGE_SIZE - 2)])


def two_layer_mlp(channels: int, seed: int) -> nn.Sequential:
    """Return a network with one hidden layer over all pixels."""
    size = channels * IMAGE_SIZE**2
    return _build_seeded(seed, lambda: [nn.Flatten(), nn.Linear(size, 16), nn.ReLU(), nn.Linear(16, NUM_CLASSES)])


def faint_linear(channels: int, seed: int) -> nn.Sequential:
    """Return a linear network with tiny gradients, whose bias makes the logits."""
    network = _build_seeded(seed, lambda: [ScaleDown(), nn.Flatten(), nn.Linear(channels * IMAGE_SIZE**2, NUM_CLASSES)])
    last = _last_layer(network)
    with torch.no_grad():
        last.weight.copy_(last.weight.sign() * (1 + last.weight.abs()))
    return network


def _build_seeded(seed: int, build_layers: Callable[[], list[nn.Module]]) -> nn.Sequential:
    """Return the network that this seed gives, with batch statistics that no batch of images has."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = nn.Sequential(*build_layers())
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.2, 1.5)
    return network.eval()


def _last_layer(network: nn.Sequential) -> nn.Linear:
    last = network[-1]
    assert isinstance(last, nn.Linear)  # noqa: S101  (every network above ends in a linear layer)
    return last


def scale_logits(network: nn.Sequential, images: Tensor, logit_std: float = LOGIT_STD) -> nn.Sequential:
    """Return the network with its last layer centred and scaled, so that logits have this standard deviation."""
    last = _last_layer(network)
    with torch.no_grad():
        logits = network(images)
        centre, scale = logits.mean(0), logit_std / logits.sub(logits.mean(0)).std()
        last.weight.mul_(scale)
        last.bias.sub_(centre).mul_(scale)
    return network


def in_pixel_space(body: nn.Module, mean: ChannelStatistic | None, std: ChannelStatistic | None) -> PixelSpaceNetwork:
    """Return the network that a candidate receives: normalisation first, then a recorder of forward passes."""
    return PixelSpaceNetwork(CallRecorder(body), mean, std).eval()
