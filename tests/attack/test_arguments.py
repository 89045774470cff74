"""Arguments of fgsm in every form that users have: equal to the plain call, or one line whose remedy works."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.arguments import check_batch, to_bounds, to_images, to_labels

N, K = 4, 3
X = torch.rand(N, 2, 3, 5, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 1])
EPSILON = 0.1


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(30, K))


@pytest.fixture(params=["module", "classifier"])
def model(request: pytest.FixtureRequest, network: nn.Module) -> Any:
    return network if request.param == "module" else rf.wrap(network, K)


PER_IMAGE = torch.tensor([0.1, 0.2, 0.0, 0.3])
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "NumPy images": ({"x": X.numpy()}, {}),
    "float64 NumPy images": ({"x": X.double().numpy()}, {}),
    "read-only, reversed NumPy images": ({"x": np.flip(np.flip(X.numpy(), 0).copy(), 0)}, {}),
    "list of numbers": ({"x": X.tolist()}, {}),
    "list of tensors": ({"x": list(X)}, {}),
    "NumPy labels": ({"y": Y.numpy()}, {}),
    "int32 labels": ({"y": Y.int()}, {}),
    "uint8 NumPy labels": ({"y": Y.numpy().astype(np.uint8)}, {}),
    "uint16 NumPy labels": ({"y": Y.numpy().astype(np.uint16)}, {}),
    "list of labels": ({"y": Y.tolist()}, {}),
    "list of label tensors": ({"y": list(Y)}, {}),
    "epsilon as text": ({"epsilon": "25.5/255"}, {}),
    "epsilon of NumPy": ({"epsilon": np.float32(0.1)}, {"epsilon": float(np.float32(0.1))}),
    "epsilon by image, NumPy": ({"epsilon": PER_IMAGE.double().numpy()}, {"epsilon": PER_IMAGE}),
    "epsilon by image, list": ({"epsilon": [0.1, 0.2, 0.0, 0.3]}, {"epsilon": PER_IMAGE}),
    "epsilon by channel": (
        {"epsilon": np.array([0.1, 0.2]).reshape(1, 2, 1, 1)},
        {"epsilon": torch.tensor([0.1, 0.2]).view(2, 1, 1)},
    ),
    "targeted 0": ({"targeted": 0}, {}),
    "targeted of NumPy": ({"targeted": np.True_}, {"targeted": True}),
    "masked arrays without masked values": ({"x": np.ma.array(X, mask=X > 2), "y": np.ma.array(Y)}, {}),
    "epsilon of integers": ({"epsilon": 1}, {"epsilon": 1.0}),
    "norm linf": ({"norm": "linf"}, {}),
    "norm np.inf": ({"norm": np.inf}, {}),
    "norm 2 as text": ({"norm": "2"}, {"norm": 2}),
    "norm l2": ({"norm": "L2"}, {"norm": 2.0}),
    "bounds as list": ({"bounds": [0, 1]}, {}),
    "bounds as array": ({"bounds": np.array([0.0, 1.0])}, {}),
    "bounds as tensors": ({"bounds": (torch.tensor(0.0), torch.tensor(1.0))}, {}),
    "bounds by pixel": ({"bounds": (torch.zeros(2, 3, 5), np.ones((2, 3, 5)))}, {}),
    "bounds by the last axis": ({"bounds": (torch.zeros(5), torch.ones(5))}, {}),
    "one bound by pixel": ({"bounds": (0, torch.ones(5))}, {}),
    "infinite bounds": ({"bounds": (-math.inf, math.inf)}, {"bounds": None}),
    "mask of NumPy": ({"mask": np.arange(5) > 2}, {"mask": torch.arange(5) > 2}),
    "mask of a list": ({"mask": [True, False, True, False, True]}, {"mask": torch.tensor([True, False, True, False, True])}),
    "start of NumPy": ({"start": X.double().numpy()}, {"start": X}),
}


def call(model: Any, changed: dict[str, Any]) -> Tensor:
    arguments: dict[str, Any] = {"x": X, "y": Y, "epsilon": EPSILON} | changed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return rf.fgsm(model, arguments.pop("x"), arguments.pop("y"), **arguments)


@pytest.mark.parametrize("name", SAME)
def test_forms_give_what_tensors_give(model: Any, name: str) -> None:
    given, plain = SAME[name]
    found = call(model, given)
    assert isinstance(found, Tensor)
    assert torch.equal(found, call(model, plain))


def test_bounds_by_feature_limit_each_feature(network: nn.Module) -> None:
    low, high = torch.linspace(-1, 0, 30), torch.linspace(0, 5, 30)
    x = low + torch.rand(6, 30) * (high - low)
    found = rf.fgsm(network, x, None, 0.5, bounds=(low, high))
    plain = rf.fgsm(network, x, None, 0.5, bounds=None)
    assert torch.equal(found, plain.clamp(low, high))
    assert not torch.equal(found, plain)
    minimal = rf.minimal_epsilon(network, x, None, 0.5, bounds=(low, high), epsilon_step=0.05)
    assert bool(((minimal.x_adv >= low) & (minimal.x_adv <= high)).all())


REMEDIES: dict[str, tuple[dict[str, Any], str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "labels from 1": ({"y": Y + 1}, "pass labels - 1", lambda call: call | {"y": call["y"] - 1}),
    "labels -1 and 1": (
        {"y": torch.tensor([-1, 1, 1, -1])},
        r"pass \(labels \+ 1\) // 2",
        lambda call: call | {"y": (call["y"] + 1) // 2},
    ),
    "ignored labels": (
        {"y": torch.tensor([0, -100, 2, -100])},
        r"-100 marks images without a label.*images\[labels >= 0\]",
        lambda call: call | {"x": X[call["y"] >= 0], "y": call["y"][call["y"] >= 0]},
    ),
    "unlabelled": (
        {"y": np.array([0, -1, 2, 1])},
        r"-1 marks images without a label.*labels\[labels >= 0\]",
        lambda call: call | {"x": X[call["y"] >= 0], "y": call["y"][call["y"] >= 0]},
    ),
    "one-hot": ({"y": torch.eye(K)[Y]}, r"one-hot: pass labels.argmax\(1\)", lambda call: call | {"y": call["y"].argmax(1)}),
    "one column": ({"y": Y[:, None]}, r"pass labels\[:, 0\]", lambda call: call | {"y": call["y"][:, 0]}),
    "float labels": (
        {"y": Y.float()},
        r"pass torch.as_tensor\(labels\).long\(\)",
        lambda call: call | {"y": torch.as_tensor(call["y"]).long()},
    ),
    "bool labels": (
        {"y": np.array([True, False, True, True])},
        r"pass torch.as_tensor\(labels\).long\(\)",
        lambda call: call | {"y": torch.as_tensor(call["y"]).long()},
    ),
    "a number": ({"y": 2}, r"pass \[2\] \* 4", lambda call: call | {"y": [2] * 4}),
    "a number for one image": ({"x": X[:1], "y": 2}, r"pass \[2\]$", lambda call: call | {"y": [2]}),
    "several budgets": ({"epsilon": [0.1, 0.2]}, "pass several budgets to rf.fgsm_sweep", lambda call: call | {"epsilon": 0.1}),
    "several budgets as text": ({"epsilon": "1,2/255"}, "pass several to rf.fgsm_sweep", lambda call: call | {"epsilon": "1/255"}),
    "epsilon in levels": ({"epsilon": 8}, "did you mean 8/255", lambda call: call | {"epsilon": "8/255"}),
    "epsilon by channel": (
        {"epsilon": np.array([0.1, 0.2])},
        r"reshape epsilon to \(2, 1, 1\)",
        lambda call: call | {"epsilon": call["epsilon"].reshape(2, 1, 1)},
    ),
    "swapped bounds": ({"bounds": (1, 0)}, r"pass bounds=\(0, 1\)", lambda call: call | {"bounds": (0, 1)}),
    "bounds by channel": (
        {"bounds": (torch.zeros(2), torch.ones(2))},
        r"reshape bounds to \(2, 1, 1\)",
        lambda call: call | {"bounds": [side.reshape(2, 1, 1) for side in call["bounds"]]},
    ),
    "swapped bounds by pixel": (
        {"bounds": (torch.ones(5), torch.zeros(5))},
        r"pass them as \(low, high\)",
        lambda call: call | {"bounds": call["bounds"][::-1]},
    ),
    "outside bounds by pixel": (
        {"bounds": (torch.zeros(5), torch.full((5,), 0.5))},
        r"or images.clamp\(low, high\)",
        lambda call: call | {"x": X.clamp(*call["bounds"])},
    ),
    "one number as bounds": ({"bounds": 1.0}, r"pass bounds=\(0, 1\)", lambda call: call | {"bounds": (0, 1)}),
    "masked labels": (
        {"y": np.ma.array(Y, mask=Y == 1)},
        r"pass array.filled\(0\)",
        lambda call: call | {"y": call["y"].filled(0)},
    ),
    "masked images": ({"x": np.ma.array(X, mask=X > 0.5)}, r"pass array.filled\(0\)", lambda call: {"x": call["x"].filled(0)}),
    "multi-hot labels of -1 and 1": (
        {"y": 2 * torch.eye(K)[Y] - 1, "loss": "bce-with-logits"},
        r"multi-hot labels must lie in \[0, 1\], got -1: pass \(labels > 0\).float\(\)",
        lambda call: call | {"y": (call["y"] > 0).float()},
    ),
    "multi-hot labels of 255": (
        {"y": 255 * torch.eye(K)[Y], "loss": "bce-with-logits"},
        r"pass \(labels > 0\).float\(\)",
        lambda call: call | {"y": (call["y"] > 0).float()},
    ),
    "no lower bound": ({"bounds": (None, 1)}, r"pass bounds=\(0, 1\)", lambda call: call | {"bounds": (0, 1)}),
    "mask of integers": (
        {"mask": torch.ones(5, dtype=torch.int64)},
        "pass mask != 0",
        lambda call: call | {"mask": call["mask"] != 0},
    ),
    "negative mask": ({"mask": torch.tensor([1.0, -1, 1, 1, 1])}, "pass mask > 0", lambda call: call | {"mask": call["mask"] > 0}),
    "mask by image": (
        {"mask": torch.tensor([True, False, True, True])},
        r"reshape mask to \(4, 1, 1, 1\)",
        lambda call: call | {"mask": call["mask"].reshape(4, 1, 1, 1)},
    ),
    "mask without channels": (
        {"mask": torch.ones(N, 3, 5, dtype=torch.bool)},
        r"pass mask.reshape\(4, 1, 3, 5\)",
        lambda call: call | {"mask": call["mask"].reshape(4, 1, 3, 5)},
    ),
    "no batch axis": ({"x": X.flatten()[:30], "y": None}, r"pass images\[None\]", lambda call: call | {"x": call["x"][None]}),
    "8-bit array": (
        {"x": (X * 255).byte().numpy()},
        "pass images / 255 if they are 8-bit",
        lambda call: call | {"x": call["x"] / 255},
    ),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_slips_are_named_and_the_remedy_works(model: Any, name: str) -> None:
    changed, message, remedy = REMEDIES[name]
    with pytest.raises(rf.InputError, match=message) as refused:
        call(model, changed)
    assert "\n" not in str(refused.value)
    assert len(call(model, remedy(changed))) >= 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "labels out of range": ({"y": Y + 5}, rf"labels must lie in \[0, {K}\), got 5 to 7: the model has {K} outputs"),
    "fewer labels": ({"y": Y[:2]}, "pass one label for each of the 4 images"),
    "fractions as labels": ({"y": Y + 0.5}, "with fractions: pass class indices"),
    "multi-hot": ({"y": torch.ones(N, K)}, "or loss='bce-with-logits' if it has a logit"),
    "soft labels": ({"y": torch.full((N, K), 1 / K)}, "a loss of your own that takes these labels"),
    "text labels": ({"y": ["cat"] * N}, "labels must be a tensor or an array of numbers, got list"),
    "text images": ({"x": "images"}, "a whole data set to rf.evaluate"),
    "ragged images": ({"x": [[1.0], [1.0, 2.0]]}, "images must be a tensor or an array of numbers, got list"),
    "complex images": ({"x": X.to(torch.complex64)}, "pass images.real"),
    "no epsilon": ({"epsilon": None}, "epsilon must be a tensor or an array of numbers, got NoneType"),
    "negative epsilon": ({"epsilon": -0.1}, "finite number >= 0 of float32, got -0.1"),
    "NaN epsilon": ({"epsilon": np.array([0.1, np.nan, 0.1, 0.1])}, "finite number >= 0 of float32, got nan"),
    "infinite epsilon": ({"epsilon": math.inf}, "finite number >= 0 of float32, got inf"),
    "epsilon True": ({"epsilon": True}, "epsilon must be real numbers"),
    "epsilon as a word": ({"epsilon": "small"}, "must look like 8/255"),
    "NaN bounds": ({"bounds": (math.nan, 1)}, "bounds must be low and high, got nan and 1"),
    "three bounds": ({"bounds": (0, 1, 2)}, "bounds must be low and high, or None"),
    "norm None": ({"norm": None}, "norm must be inf, 1, 2"),
    "norm True": ({"norm": True}, "norm must be inf, 1, 2"),
    "targeted as a rule": ({"targeted": "next"}, "pass True with the targets as y; rf.evaluate takes rules"),
    "targeted as text": ({"targeted": "False"}, "targeted must be True or False, got 'False'"),
    "targeted None": ({"targeted": None}, "targeted must be True or False"),
    "targets as targeted": ({"targeted": Y}, "targeted must be True or False"),
    "stable as text": ({"stable": "no"}, "stable must be True or False, got 'no'"),
    "norm 0": ({"norm": 0}, "norm must be inf, 1, 2"),
    "epsilon wider than bounds by pixel": (
        {"bounds": (torch.zeros(5), torch.ones(5)), "epsilon": 1.5},
        r"linf epsilon must lie in \[0, 1\]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_arguments_are_named_before_the_model_is_called(name: str) -> None:
    changed, message = REFUSED[name]
    calls = []

    def network(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x.flatten(1)[:, :K]

    with pytest.raises(rf.InputError, match=message) as refused:
        call(network, changed)
    assert "\n" not in str(refused.value)
    assert not calls or "the model has" in str(refused.value)  # a bare function tells its number of classes last


@pytest.mark.parametrize("model", ["resnet18", 3, None])
def test_the_model_is_checked_first(model: Any) -> None:
    with pytest.raises(rf.ModelError, match="model must be callable"):
        rf.fgsm(model, X, Y)


def test_a_loss_of_the_users_own_gets_its_labels_untouched(network: nn.Module) -> None:
    seen: list[Any] = []

    def loss(outputs: Tensor, y: Any) -> Tensor:
        seen.append(y)
        return outputs.square().sum(1)

    given = torch.full((N, 7), 0.5)
    rf.fgsm(network, X, given, loss=loss)
    assert seen[0].equal(given)


def test_an_attack_by_8_of_255_on_images_of_0_to_255() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(30, K))
    x = (X * 255).round()
    found = rf.fgsm(network, x, Y, 8, bounds=(0, 255))
    assert float((found - x).abs().max()) == 8
    with pytest.warns(RuntimeWarning, match="write 8 for 8/255"):
        rf.fgsm(network, x, Y, bounds=(0, 255))


def test_conversions_keep_tensors() -> None:
    assert to_labels(Y, X) is Y
    assert to_images(X, None).data_ptr() == X.data_ptr()
    assert to_bounds((0, 1), X) == (0.0, 1.0)
    assert check_batch(X, Y, num_classes=K).label_range == (0, 2)
