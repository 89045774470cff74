"""Networks that an execution plan could change, each with the words of the reason why it stays plain."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import robustbench_fgsm as rf


class SmallNetwork(nn.Module):
    """Two convolutions and a linear layer, which a subclass changes in one place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 8, 5, stride=2), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def features(self, x: Tensor) -> Tensor:
        """Return the features (N, C, H, W)."""
        found: Tensor = self.second(self.first(x).relu()).relu()
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 10)."""
        found: Tensor = self.head(self.features(x).mean((2, 3)))
        return found


class ByType(SmallNetwork):
    """It asks its layers for their exact type."""

    def features(self, x: Tensor) -> Tensor:
        """Return features that depend on the type of a layer."""
        return super().features(x) * (1.0 if type(self.second) is nn.Conv2d else 2.0)


class Views(SmallNetwork):
    """It needs contiguous features."""

    def features(self, x: Tensor) -> Tensor:
        """Return a view."""
        found = super().features(x)
        return found.view(len(found), -1, 2, 2)


class ByStride(SmallNetwork):
    """It reads the memory as it lies."""

    def features(self, x: Tensor) -> Tensor:
        """Return features in the order of the memory."""
        found = super().features(x)
        size = found.shape
        return found.as_strided(size, (size[1] * size[2] * size[3], size[2] * size[3], size[3], 1))


class Drops(SmallNetwork):
    """Its dropout is always on."""

    def features(self, x: Tensor) -> Tensor:
        """Return features of which some are dropped."""
        return nn.functional.dropout(super().features(x), 0.5, training=True)


class Counts(SmallNetwork):
    """It counts its calls, and changes at the hundredth."""

    calls = 0

    def features(self, x: Tensor) -> Tensor:
        """Return other features from the hundredth call on."""
        self.calls += 1
        return super().features(x) * (1.0 if self.calls < 100 else -1.0)


class Averages(SmallNetwork):
    """It keeps a running mean also in evaluation mode."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8, 1, 1), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Return features without the running mean."""
        found = super().features(x)
        with torch.no_grad():
            self.mean.lerp_(found.mean((0, 2, 3)).view(8, 1, 1), 1e-9)
        return found - self.mean


class Neighbours(SmallNetwork):
    """Its features depend on the other images of the batch."""

    def features(self, x: Tensor) -> Tensor:
        """Return features without the mean of the batch."""
        found = super().features(x)
        return found - found.mean(0)


class Generates(SmallNetwork):
    """It makes the weights of a layer from its images, past PyTorch's version counter."""

    def features(self, x: Tensor) -> Tensor:
        """Return features of a layer whose weights depend on the images."""
        self.second.weight.data.fill_(float(x.detach().mean()))
        return super().features(x)


def wrapping() -> nn.Module:
    """Return a network whose convolution pads by wrapping around, because its method is replaced."""
    network = SmallNetwork()

    def wrap_around(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode="circular"), weight, bias)

    network.second._conv_forward = types.MethodType(wrap_around, network.second)  # type: ignore[method-assign]
    return network


def hooked() -> nn.Module:
    """Return a network with a hook that counts its calls where no copy of the network can see them."""
    network, calls = SmallNetwork(), [0]

    def alternate(layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        calls[0] += 1
        return outputs * (1.0 if calls[0] % 2 else 0.5)

    network.second.register_forward_hook(alternate)
    return network


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "type": (ByType, "outputs differ by"),
    "views": (Views, "the network failed in its trial: RuntimeError"),
    "strides": (ByStride, "outputs differ by"),
    "dropout": (Drops, "differently from call to call"),
    "calls": (Counts, "changes its own state"),
    "running mean": (Averages, "changes its own state"),
    "neighbours": (Neighbours, "the images beside it"),
    "hook": (hooked, "has a hook or a replaced method"),
    "replaced method": (wrapping, "has a hook or a replaced method"),
    "generated weights": (Generates, "differ|state"),
}


class Noisy(nn.Module):
    """A network whose outputs are off by as much as float32 rounding, or for a few images by more, as a mistake would be."""

    def __init__(self, network: nn.Module, noise: float, brightness: float = 2.0) -> None:
        super().__init__()
        self.network, self.noise, self.brightness = network, noise, brightness

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs with noise that depends on the image alone; images brighter than the limit get other classes."""
        outputs: Tensor = self.network(x)
        signs = torch.tensor([1.0, -1.0]).repeat(5)
        noise = signs * self.noise * outputs.detach().abs().amax(1, keepdim=True)
        mistaken = (x.mean((1, 2, 3)) > self.brightness).unsqueeze(1)
        return torch.where(mistaken, outputs.roll(1, 1), outputs + noise)


class Rounding(rf.TorchClassifier):
    """A classifier that in channels-last has other rounding errors, by construction and on any machine."""

    noise, brightness = 1e-5, 2.0

    def channels_last(self, batch_size: int) -> rf.TorchClassifier:
        """Return the noisy classifier."""
        return self.with_network(Noisy(copy.deepcopy(self.network), self.noise, self.brightness), torch.channels_last)

    def with_network(self, network: nn.Module, memory_format: torch.memory_format, **options: Any) -> rf.TorchClassifier:
        """Return a classifier of this class."""
        other = super().with_network(network, memory_format, **options)
        other.__class__ = Rounding
        other.noise, other.brightness = self.noise, self.brightness  # type: ignore[attr-defined]
        return other


def make_rounding() -> Rounding:
    """Return ten linear filters as large as the image, whose outputs are close to each other beside their size."""
    layer, generator = nn.Conv2d(1, 10, 28), torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight.uniform_(-0.01, 0.01, generator=generator)
        layer.bias.fill_(30.0)  # type: ignore[union-attr]
    plain = rf.wrap(nn.Sequential(layer, nn.Flatten()), 10, device="cpu")
    return Rounding(plain.network, 10, None, plain.bounds, plain.info)
