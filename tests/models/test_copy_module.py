"""Test copies of networks that have run, or hold more than ordinary weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import robustbench_fgsm as rf
from robustbench_fgsm.models.copy_module import copy_module, make_trainable


class KeepsFeatures(nn.Module):
    """A network that keeps tensors of its forward pass, alone and in containers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        self.features: Tensor | None = None
        self.history: list[tuple[Tensor, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(x)
        self.features, self.history = features, [(features,)]
        return features


class SparseMask(nn.Sequential):
    """A network with a sparse buffer, integer parameters and extra state."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))
        self.register_buffer("mask", torch.eye(10).to_sparse())
        self.order = nn.Parameter(torch.arange(9, -1, -1), requires_grad=False)

    def get_extra_state(self) -> dict[str, object]:
        """Return something that is not a tensor."""
        return {"scale": 2.0, "names": ["a"], "anything": object()}

    def forward(self, x: Tensor) -> Tensor:
        """Return the masked outputs in another order."""
        outputs: Tensor = torch.sparse.mm(self.mask, self[1](self[0](x)).T)
        return outputs.T[:, self.order]


class DoubleHead(nn.Sequential):
    """A network that computes its last layer in float64."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))
        self.head = nn.Linear(10, 10).double()

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 outputs."""
        for layer in (self[0], self[1]):
            x = layer(x)
        outputs: Tensor = self.head(x.double())
        return outputs.float()


def small() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def pruned() -> nn.Module:
    network = small()
    prune.l1_unstructured(network[1], "weight", 0.5)  # type: ignore[no-untyped-call]
    return network


def spectral() -> nn.Module:
    network = small()
    parametrizations.spectral_norm(network[1])
    return network


def old_spectral() -> nn.Module:
    network = small()
    nn.utils.spectral_norm(network[1])
    return network


UNUSUAL: list[Callable[[], nn.Module]] = [KeepsFeatures, SparseMask, DoubleHead, pruned, spectral, old_spectral]


@pytest.mark.parametrize("make", UNUSUAL)
def test_an_unusual_network_is_attacked_like_its_original(make: Callable[[], nn.Module], images: rf.ArrayDataset) -> None:
    network, batch = make().eval(), next(images.batches(0, 16, 16))
    expected = network(batch.images).detach()
    classifier = rf.wrap(network, 10)
    assert torch.equal(classifier.predict(batch.images), expected)
    x_adv = rf.fgsm(classifier, batch.images, batch.labels)
    assert torch.equal(rf.fgsm(network, batch.images, batch.labels), x_adv)
    assert torch.equal(classifier.copy_network()(batch.images), expected)
    assert rf.compare(classifier, images.head(16), references=["art"]).verdict == "agree"
    assert classifier.info.sha256 == rf.wrap(network, 10).info.sha256


def test_kept_tensors_are_detached() -> None:
    network = KeepsFeatures()
    outputs = network(torch.rand(2, 784))
    copied = copy_module(network)
    assert isinstance(copied, KeepsFeatures)
    (features,) = copied.history[0]
    assert torch.equal(features, outputs)
    assert features.is_leaf
    assert copied.features is features
    assert not outputs.is_leaf
    assert network.features is outputs


def test_shared_tensors_are_not_copied() -> None:
    network = small()
    weight, bias = network.parameters()
    shared, copied = (list(one.parameters()) for one in (copy_module(network, [weight]), copy_module(network)))
    assert shared[0] is weight
    assert not {id(weight), id(bias)} & {id(tensor) for tensor in (shared[1], *copied)}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_network_needs_its_weights(device: str) -> None:
    layer = nn.LazyLinear(10) if device == "cpu" else nn.Linear(784, 10, device="meta")
    with pytest.raises(rf.ModelError, match=r"must have all weights, got '1\.weight' empty: run the model on a batch"):
        rf.wrap(nn.Sequential(nn.Flatten(), layer), 10)


def test_a_lazy_network_is_wrapped_once_it_has_run() -> None:
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    network(torch.rand(1, 1, 28, 28))
    assert rf.wrap(network, 10).predict(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_a_network_that_cannot_be_copied_is_an_error() -> None:
    network = small()
    network.numbers = (number for number in range(3))  # type: ignore[assignment]
    with pytest.raises(rf.ModelError, match=r"it raised TypeError: cannot pickle .generator. object"):
        rf.wrap(network, 10)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:TypedStorage")
def test_a_quantised_network_has_no_gradient(images: rf.ArrayDataset) -> None:
    layer = nn.Linear(784, 10)
    weight = torch.quantize_per_tensor(layer.weight.detach(), 0.01, 0, torch.qint8)

    class Quantised(nn.Module):
        weight: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", weight)

        def forward(self, x: Tensor) -> Tensor:
            return (x.flatten(1).detach() @ self.weight.dequantize().T).round()

    classifier = rf.wrap(Quantised(), 10)
    assert classifier.info.sha256 == rf.wrap(Quantised(), 10).info.sha256
    with pytest.raises(rf.ModelError, match=r"must pass a gradient back to its images, got none: look for .* quantised layers"):
        rf.evaluate(classifier, images)


def test_only_numbers_with_fractions_are_trained() -> None:
    assert [parameter.requires_grad for parameter in make_trainable(SparseMask().requires_grad_(False)).parameters()] == [
        False,
        True,
        True,
    ]
