"""Convolutions with packed weights: the same sums and gradients, from the same weights."""

from __future__ import annotations

import copy
import pickle
import types

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal as orthogonal_weight
from torch.nn.utils.prune import l1_unstructured

import robustbench_fgsm as rf
from robustbench_fgsm.models.packed_convolution import PackedConv2d, can_pack_convolutions, pack_convolutions

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


def predict(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = network(images.contiguous(memory_format=CHANNELS_LAST))
    return outputs


def gradient(network: nn.Module, images: Tensor) -> Tensor:
    x = images.contiguous(memory_format=CHANNELS_LAST).requires_grad_()
    return torch.autograd.grad(network(x).logsumexp(1).sum(), x)[0]


needs_onednn = pytest.mark.skipif(not can_pack_convolutions(convolutions()), reason="needs oneDNN")


@needs_onednn
@pytest.mark.parametrize("size", [1, 7, 64])
def test_packed_convolutions_equal_plain_ones(images: Tensor, size: int) -> None:
    network = convolutions()
    packed = pack_convolutions(network, size)
    assert sum(isinstance(module, PackedConv2d) for module in packed.modules()) == 5
    for compute in (predict, gradient):
        torch.testing.assert_close(compute(packed, images), compute(network, images), rtol=1e-5, atol=1e-6)


@needs_onednn
def test_packing_shares_the_weights(images: Tensor) -> None:
    network = convolutions()
    before = copy.deepcopy(network.state_dict())
    packed = pack_convolutions(network, 7)
    predict(packed, images)
    assert [id(tensor) for tensor in packed.parameters()] == [id(tensor) for tensor in network.parameters()]
    assert all(type(module) is not PackedConv2d for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@needs_onednn
def test_a_packed_network_can_be_copied(images: Tensor) -> None:
    packed = pack_convolutions(convolutions(), 7)
    expected = predict(packed, images)
    for copied in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert torch.equal(predict(copied, images), expected)


@needs_onednn
def test_packed_convolutions_keep_type_and_attributes() -> None:
    for before, after in zip(convolutions(), pack_convolutions(convolutions(), 7).children(), strict=True):
        assert isinstance(after, type(before))
        assert {
            name for name, value in vars(before).items() if isinstance(value, int | str | tuple) and vars(after)[name] != value
        } == set()


@needs_onednn
@pytest.mark.parametrize("shape", [(1, 9, 9), (0, 1, 9, 9), (3, 1, 5, 7)], ids=["one image", "no image", "another size"])
def test_packed_convolutions_take_what_plain_ones_take(shape: tuple[int, ...]) -> None:
    network, x = convolutions()[:3], torch.rand(shape)
    packed = pack_convolutions(network, 7)
    with torch.no_grad():
        packed(torch.rand(7, 1, 9, 9))
        torch.testing.assert_close(packed(x), network(x), rtol=1e-5, atol=1e-6)


@needs_onednn
@pytest.mark.parametrize("change", ["in place", "another", "stride"])
def test_changed_weights_are_packed_again(images: Tensor, change: str) -> None:
    network = convolutions()[:1]
    packed = pack_convolutions(network, 7)
    predict(packed, images)
    for one in (network, packed):
        layer = next(one.children())
        assert isinstance(layer, nn.Conv2d)
        if change == "stride":
            layer.stride = (2, 2)
        elif change == "another":
            layer.weight = nn.Parameter(torch.ones_like(layer.weight), False)
        elif one is network:  # the weights are shared
            layer.weight.mul_(2)
    torch.testing.assert_close(predict(packed, images), predict(network, images), rtol=1e-5, atol=1e-6)


def test_other_layers_are_left_alone() -> None:
    reflecting = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")
    hooked = nn.Conv2d(1, 2, 3)
    hooked.register_forward_hook(lambda module, inputs, outputs: outputs + 1)
    wrapping, described = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
    wrapping._conv_forward = types.MethodType(lambda layer, x, weight, bias: x, wrapping)  # type: ignore[method-assign]
    described.scale = 2.0  # type: ignore[assignment]
    pruned, orthogonal = nn.Conv2d(1, 2, 3), orthogonal_weight(nn.Conv2d(1, 2, 3))
    l1_unstructured(pruned, "weight", 0.5)  # type: ignore[no-untyped-call]
    for network in (
        hooked,
        wrapping,
        described,
        pruned,
        orthogonal,
        reflecting,
        nn.Conv2d(1, 2, 3, padding="same"),
        nn.Conv2d(1, 2, 3).double(),
        nn.Linear(2, 2),
    ):
        assert not can_pack_convolutions(network)


def test_channels_last_works_without_onednn(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = rf.wrap(convolutions(), 3)
    one = classifier.channels_last(7)
    monkeypatch.setattr("robustbench_fgsm.models.packed_convolution.MKLDNN_OPERATORS", ("no_such_operator",))
    other = classifier.channels_last(7)
    assert not any(isinstance(module, PackedConv2d) for module in other.network.modules())
    assert one.memory_format == other.memory_format == CHANNELS_LAST
    torch.testing.assert_close(one.predict(images), other.predict(images), rtol=1e-5, atol=1e-6)
