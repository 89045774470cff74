"""Convolutions with packed weights: the same sums and gradients, from the same weights."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.models.packed_convolution import PackedConvolution, can_pack_convolutions, pack_convolutions

CHANNELS_LAST = torch.channels_last


def convolutions() -> nn.Sequential:
    """One of each kind: strided, dilated, in groups, with and without bias, from one channel and to one pixel."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=(1, 2), stride=2, bias=False),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        nn.Conv2d(8, 4, 1, groups=2),
        nn.Conv2d(4, 3, (5, 6)),
        nn.Flatten(),
    ).requires_grad_(False)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(7, 1, 9, 9, generator=torch.Generator().manual_seed(0))


def gradient(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    x = images.contiguous(memory_format=CHANNELS_LAST).requires_grad_()
    outputs = network(x)
    return outputs.detach(), torch.autograd.grad(outputs.logsumexp(1).sum(), x)[0]


@pytest.mark.skipif(not can_pack_convolutions(convolutions()), reason="needs oneDNN")
@pytest.mark.parametrize("size", [1, 7, 64])
def test_packed_convolutions_equal_plain_ones(images: Tensor, size: int) -> None:
    network = convolutions()
    packed = pack_convolutions(network, size)
    assert sum(isinstance(module, PackedConvolution) for module in packed.modules()) == 5
    for expected, found in zip(gradient(network, images), gradient(packed, images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not can_pack_convolutions(convolutions()), reason="needs oneDNN")
def test_packing_shares_the_weights(images: Tensor) -> None:
    network = convolutions()
    before = copy.deepcopy(network.state_dict())
    packed = pack_convolutions(network, 7)
    gradient(packed, images)
    assert [id(tensor) for tensor in packed.parameters()] == [id(tensor) for tensor in network.parameters()]
    assert all(type(module) is not PackedConvolution for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.skipif(not can_pack_convolutions(convolutions()), reason="needs oneDNN")
def test_a_packed_network_can_be_copied(images: Tensor) -> None:
    packed = pack_convolutions(convolutions(), 7)
    expected, _ = gradient(packed, images)
    for copied in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert torch.equal(gradient(copied, images)[0], expected)


def test_other_layers_are_left_alone() -> None:
    reflecting = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")
    hooked = nn.Conv2d(1, 2, 3)
    hooked.register_forward_hook(lambda module, inputs, outputs: outputs + 1)
    for network in (hooked, reflecting, nn.Conv2d(1, 2, 3, padding="same"), nn.Conv2d(1, 2, 3).double(), nn.Linear(2, 2)):
        assert not can_pack_convolutions(network)


def test_channels_last_works_without_onednn(  # noqa: N802  (its name)
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = rf.wrap(convolutions(), 3)
    one = classifier.channels_last(7)
    monkeypatch.setattr("robustbench_fgsm.models.packed_convolution.MKLDNN_OPERATORS", ("no_such_operator",))
    other = classifier.channels_last(7)
    assert not any(isinstance(module, PackedConvolution) for module in other.network.modules())
    assert one.memory_format == other.memory_format == CHANNELS_LAST
    torch.testing.assert_close(one.predict(images), other.predict(images), rtol=1e-5, atol=1e-6)
