"""Normalisation as the first layer, and classifiers that own what they attack."""

from __future__ import annotations

import copy
import pickle
import pickletools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.classifier import Classifier, PixelSpaceNetwork, hash_architecture, hash_weights


@pytest.fixture
def network() -> nn.Sequential:
    """Batch norm and dropout in train mode, half of it frozen, with gradients and a parameter that wants none."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 3))
    module(torch.rand(8, 1, 6, 6)).sum().backward()
    module[1].eval()
    module[4].bias.requires_grad_(False)
    return module


def everything(module: nn.Module) -> list[object]:
    """All that belongs to the caller: flags, weights, buffers, gradients, and who wants gradients."""
    tensors = [*module.parameters(), *module.buffers()]
    return [
        [part.training for part in module.modules()],
        [tensor.tolist() for tensor in tensors],
        [None if tensor.grad is None else tensor.grad.tolist() for tensor in tensors],
        [tensor.requires_grad for tensor in tensors],
    ]


def test_architecture_has_a_hash_of_its_own(network: nn.Sequential) -> None:
    before = hash_architecture(network)
    for parameter in network.parameters():
        parameter.data.add_(1)
    assert hash_architecture(copy.deepcopy(network).train()) == before
    for place, layer in ((3, nn.Dropout(0.4)), (2, nn.Identity()), (4, nn.Linear(32, 4)), (0, nn.Conv2d(1, 2, 3, padding=1))):
        other = copy.deepcopy(network)
        other[place] = layer
        assert hash_architecture(other) != before


def test_name_of_a_layer_may_choose_its_function() -> None:
    hashes = set()
    for name in ("relu", "gelu"):
        layer = nn.ReLU()
        vars(layer)["name"] = name
        hashes.add(hash_architecture(layer))
    assert len(hashes) == 2


def test_normalisation_by_one_value() -> None:
    x = torch.tensor([[[[0.5, 1.0]]]])
    assert torch.equal(PixelSpaceNetwork(nn.Identity(), mean=0.5, std=0.25)(x), torch.tensor([[[[0.0, 2.0]]]]))


def test_normalisation_by_channel() -> None:
    x = torch.tensor([[[[0.5]], [[0.5]], [[0.5]]]])
    normalised = PixelSpaceNetwork(nn.Identity(), mean=[0.0, 0.25, 0.5], std=[1.0, 0.5, 0.1])(x)
    assert torch.equal(normalised.flatten(), torch.tensor([0.5, 0.5, 0.0]))


def test_no_normalisation_keeps_the_pixels() -> None:
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(PixelSpaceNetwork(nn.Identity())(x), x)


def test_repeats_grey_before_normalisation() -> None:
    x = torch.tensor([[[[0.5]]]])
    colours = PixelSpaceNetwork(nn.Identity(), mean=[0.0, 0.25, 0.5], channels=3)(x)
    assert torch.equal(colours.flatten(), torch.tensor([0.5, 0.25, 0.0]))


def test_colour_is_not_repeated() -> None:
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(PixelSpaceNetwork(nn.Identity(), channels=3)(x), x)


def test_gradient_sums_repeated_grey_channels() -> None:
    wrapped = rf.wrap(nn.Flatten(), num_classes=3, channels=3)
    gradient, _ = wrapped.loss_gradient(torch.rand(2, 1, 1, 1), torch.tensor([0, 1]), lambda outputs, _: outputs.sum(1))
    assert torch.equal(gradient, torch.full((2, 1, 1, 1), 3.0))


def test_inplace_networks_keep_the_images() -> None:
    x = torch.rand(2, 1, 3, 3) - 0.5
    before = x.clone()
    rf.wrap(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten()), num_classes=9).predict(x)
    assert torch.equal(x, before)


def test_normalisation_is_no_weight() -> None:
    assert PixelSpaceNetwork(nn.Identity(), mean=0.5, std=0.5).state_dict() == {}


def test_is_independent_of_the_original(network: nn.Sequential) -> None:
    x = torch.rand(4, 1, 6, 6)
    wrapped = rf.wrap(network, num_classes=3)
    before = wrapped.predict(x)
    network.train()
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
    assert torch.equal(wrapped.predict(x), before)


def test_keeps_the_original(network: nn.Sequential) -> None:
    before = everything(network)
    wrapped = rf.wrap(network, num_classes=3, mean=0.5, std=0.5)
    wrapped.predict(torch.rand(4, 1, 6, 6))
    wrapped.loss_gradient(torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 0]), cross_entropy)
    assert everything(network) == before


def test_the_copy_needs_no_gradients(network: nn.Sequential) -> None:
    wrapped = rf.wrap(network, num_classes=3)
    assert not any(part.training for part in wrapped.network.modules())
    assert not any(parameter.requires_grad for parameter in wrapped.network.parameters())


def test_predictions_match_the_module(network: nn.Sequential) -> None:
    x = torch.rand(4, 1, 6, 6)
    expected = copy.deepcopy(network).eval()((x - 0.25) / 0.5)
    assert torch.equal(rf.wrap(network, num_classes=3, mean=0.25, std=0.5).predict(x), expected)


def test_only_calls_are_differentiable(network: nn.Sequential) -> None:
    wrapped = rf.wrap(network, num_classes=3)
    x = torch.rand(4, 1, 6, 6, requires_grad=True)
    assert wrapped(x).requires_grad
    assert not wrapped.predict(x).requires_grad


def test_the_gradient_of_a_linear_network() -> None:
    """For logits W x the gradient is W^T (softmax - onehot): here W = [[1, 2], [3, -4]] at x = 0, softmax 1/2 each."""
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -4.0]]))
    wrapped = rf.wrap(nn.Sequential(nn.Flatten(), layer), num_classes=2)
    gradient, outputs = wrapped.loss_gradient(torch.zeros(2, 1, 1, 2), torch.tensor([0, 1]), cross_entropy)
    assert torch.equal(gradient.flatten(1), torch.tensor([[1.0, -3.0], [-1.0, 3.0]]))
    assert torch.equal(outputs, torch.zeros(2, 2))


def test_describes_a_wrapped_network() -> None:
    wrapped = rf.wrap(nn.Linear(4, 2), num_classes=2, bounds=(-1.0, 1.0), classes=["cat", "dog"])
    assert isinstance(wrapped, Classifier)
    assert (wrapped.num_classes, wrapped.classes, wrapped.bounds) == (2, ("cat", "dog"), (-1.0, 1.0))
    assert (wrapped.info.spec, wrapped.info.weights, wrapped.info.parameters) == ("Linear", "given", 10)
    assert wrapped.device == torch.device("cpu")


def test_networks_without_weights_have_a_device() -> None:
    assert rf.wrap(nn.Flatten(), num_classes=4).device == torch.device("cpu")


@pytest.mark.parametrize("classes", [[], ["cat"], ["cat", "dog", "cow"]])
def test_class_names_must_number_the_outputs(classes: list[str]) -> None:
    with pytest.raises(ModelError, match=f"name all 2 outputs, got {len(classes)} names"):
        rf.wrap(nn.Linear(4, 2), num_classes=2, classes=classes)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), [0.5, 0.0, 0.5]])
def test_a_standard_deviation_must_be_positive(std: float | list[float]) -> None:
    with pytest.raises(ModelError, match="std must be positive in every channel, got"):
        rf.wrap(nn.Linear(4, 2), num_classes=2, std=std)


def test_copies_are_independent(network: nn.Sequential) -> None:
    x = torch.rand(4, 1, 6, 6)
    wrapped = rf.wrap(network, num_classes=3)
    before = wrapped.predict(x)
    taken = wrapped.copy_network()
    assert torch.equal(taken(x), before)
    with torch.no_grad():
        for parameter in taken.train().parameters():
            parameter.zero_()
    assert torch.equal(wrapped.predict(x), before)


def test_a_double_variant_keeps_the_original(network: nn.Sequential) -> None:
    x = torch.rand(4, 1, 6, 6)
    wrapped = rf.wrap(network, num_classes=3, mean=0.5, std=0.5)
    double = wrapped.variant(torch.float64).predict(x.double())
    single = wrapped.predict(x)
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(double.float(), single)


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 3.0])},
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0]).double()},
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([])},
    ],
)
def test_other_weights_have_another_hash(other: dict[str, Tensor]) -> None:
    def module(buffers: dict[str, Tensor]) -> nn.Module:
        holder = nn.Module()
        for name, value in buffers.items():
            holder.register_buffer(name, value)
        return holder

    hashed = hash_weights(module({"a": torch.tensor([1.0, 2.0])}))
    assert hash_weights(module({"a": torch.tensor([1.0, 2.0])})) == hashed
    assert hash_weights(module(other)) != hashed


@pytest.mark.parametrize("other", [{"mean": 0.4}, {"std": 0.4}, {"mean": [0.5, 0.4, 0.3]}, {"channels": 3}, {}])
def test_another_normalisation_has_another_hash(network: nn.Sequential, other: dict[str, Any]) -> None:
    same = rf.wrap(network, 3, mean=0.5, std=0.5).info.sha256
    assert rf.wrap(network, 3, mean=[0.5], std=[0.5]).info.sha256 == same
    given = {"mean": 0.5, "std": 0.5} | other if other else {}
    assert rf.wrap(network, 3, **given).info.sha256 != same


def test_flat_images_are_normalised_by_feature() -> None:
    mean, std, x = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 1.0, 2.0]), torch.rand(4, 3)
    for given in ((mean.tolist(), std.tolist()), (0.1, 0.5), ([0.1], [0.5])):
        found = rf.wrap(nn.Identity(), 3, mean=given[0], std=given[1])
        expected = (x - torch.tensor(given[0])) / torch.tensor(given[1])
        assert torch.equal(found.predict(x), expected)
    gradient, _ = rf.wrap(nn.Identity(), 3, mean=mean.tolist()).loss_gradient(x, torch.tensor([0, 1, 2, 0]), cross_entropy)
    assert gradient.shape == (4, 3)


def test_info_has_the_normalisation() -> None:
    told = rf.wrap(nn.Linear(4, 2), 2, mean=0.286, std=[0.353]).info
    assert (told.mean, told.std) == ((0.286,), (0.353,))
    assert rf.wrap(nn.Linear(4, 2), 2).info.to_dict() | {"sha256": "", "architecture_sha256": ""} == {
        "spec": "Linear",
        "weights": "given",
        "parameters": 10,
        "sha256": "",
        "architecture_sha256": "",
        "mean": None,
        "std": None,
        "preprocessing": None,
        "dtype": "float32",
        "checkpoint": None,
        "settings": {},
    }


def test_a_pickle_names_only_importable_modules() -> None:
    """Another process need not have what this one happens to have loaded; pickle names layouts by whoever imported torch."""
    plain = rf.wrap(nn.Conv2d(1, 2, 3), 2, device="cpu")
    for classifier in (plain, plain.variant(memory_format=torch.channels_last)):
        content = pickle.dumps(classifier)
        assert pickle.loads(content).memory_format == classifier.memory_format
        words = [str(word) for _, word, _ in pickletools.genops(content) if isinstance(word, str)]
        assert not [word for word in words if word.startswith("tests.") or word.endswith("_format")]
