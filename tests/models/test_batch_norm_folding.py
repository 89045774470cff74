"""Batch norm folded into convolutions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import robustbench_fgsm as rf
from robustbench_fgsm.models.batch_norm_folding import fold_batch_norm
from robustbench_fgsm.models.classifier import PixelSpaceNetwork


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def moved(network: nn.Module) -> nn.Module:
    """A random network in evaluation mode whose batch norms have statistics of their own."""
    generator = torch.Generator().manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_mean, part.weight, part.bias):
                assert tensor is not None
                tensor.data.normal_(0.5, 0.2, generator=generator)
            assert part.running_var is not None
            part.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("vgg11_bn", 0), ("densenet121", 62)])
def test_folded_equals_unfolded(name: str, left: int) -> None:
    """In a DenseNet half of the batch norms stand before their convolution; these stay."""
    torch.manual_seed(0)
    network = moved(models.get_model(name, num_classes=10))
    folded = fold_batch_norm(network)
    assert folded is not None
    assert norms(folded) == left < norms(network)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = network(x), folded(x)
    assert float((expected - found).abs().max() / expected.abs().max()) < 1e-5


def test_normalisation_stays_around_the_folded_network() -> None:
    torch.manual_seed(0)
    inner = moved(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(5)))
    network = PixelSpaceNetwork(inner, 0.5, 0.25, channels=3)
    x = torch.rand(2, 1, 8, 8)
    expected = network(x)
    folded = fold_batch_norm(network)
    assert folded is not None
    assert norms(folded) == 0
    assert norms(network) == 1
    torch.testing.assert_close(folded(x), expected)


class Choosy(nn.Module):
    """Its path depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x) if bool(x.mean() > 0) else x
        return found.flatten(1)


class Twice(nn.Module):
    """Its convolution is read by two, and called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.conv(x)
        found: Tensor = self.norm(once) + once + self.conv(once)
        return found.flatten(1)


class ReadsWeights(nn.Module):
    """It reads the weights of a layer beside its outputs."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layers, self.layer = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), layer

    def forward(self, x: Tensor) -> Tensor:
        read = self.layers[self.layer].weight
        found: Tensor = self.layers(x).flatten(1) * read.sum()  # type: ignore[operator]
        return found


def hooked(layer: int) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network[layer].register_forward_hook(lambda module, inputs, outputs: outputs.clamp(-1, 1))
    return network


def test_tracing_runs_no_hook() -> None:
    calls: list[int] = []
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.ReLU()))
    network[2].register_forward_hook(lambda *_: calls.append(1))
    assert fold_batch_norm(network.eval()) is None
    assert not calls


def replaced(layer: int) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    forward = network[layer].forward
    network[layer].forward = lambda x: forward(x).clamp(-1, 1)
    return network


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("make", [ReadsWeights, hooked, replaced])
def test_layers_that_do_more_are_not_folded(make: Callable[[int], nn.Module], layer: int) -> None:
    assert fold_batch_norm(make(layer).eval()) is None


def trained() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))


@pytest.mark.parametrize("network", [Choosy(), Twice(), trained(), nn.Conv2d(1, 2, 3)], ids=lambda net: type(net).__name__)
def test_keeps_unfoldable_networks(network: nn.Module) -> None:
    assert fold_batch_norm(network.eval()) is None


def test_folding_keeps_the_original() -> None:
    classifier = rf.load_classifier("resnet18", device="cpu")
    assert isinstance(classifier, rf.TorchClassifier)
    before = norms(classifier.network)
    folded = fold_batch_norm(classifier.network)
    assert folded is not None
    assert (norms(folded), norms(classifier.network)) == (0, before)
