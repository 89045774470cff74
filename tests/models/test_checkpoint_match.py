"""Checkpoints of training programs: nests, prefixes, averages, other classes and other architectures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, UnsafeError
from robustbench_fgsm.models.checkpoint_match import load_checkpoint

State = dict[str, Tensor]


def network(outputs: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, outputs))


@pytest.fixture
def state() -> State:
    torch.manual_seed(3)
    return {key: torch.rand_like(value) if value.is_floating_point() else value for key, value in network().state_dict().items()}


def under(prefix: str, state: State, shift: float = 0.0) -> State:
    return {f"{prefix}{key}": value + shift if value.is_floating_point() else value for key, value in state.items()}


def save(tmp_path: Path, held: object, name: str = "mine.pth") -> Path:
    torch.save(held, tmp_path / name)
    return tmp_path / name


def load(file: Path, into: nn.Module | None = None) -> tuple[nn.Module, str]:
    made = into or network()
    return made, load_checkpoint(made, file, takes_num_classes=True)


NESTS = ["", "state_dict", "model", "model_state_dict", "module", "net", "ema", "state_dict_ema", "teacher", "any_other.inner"]
PREFIXES = ["", "module.", "model.", "net.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.model.", "student.backbone."]


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_nests_and_prefixes(tmp_path: Path, state: State, nest: str, prefix: str) -> None:
    held: Any = under(prefix, state)
    for word in reversed(nest.split(".") if nest else []):
        held = {word: held, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}}
    made, found = load(save(tmp_path, held, "last.ckpt"))
    assert all(torch.equal(value, state[key]) for key, value in made.state_dict().items())
    assert found == ", ".join(filter(None, [nest, f"keys {prefix}*" if prefix else ""]))


@pytest.mark.parametrize("suffix", [".ckpt", ".pth.tar", ".bin", ".pt", ".pth", ".safetensors", ".CKPT", ".weights"])
def test_every_suffix_is_a_file(tmp_path: Path, suffix: str) -> None:
    state, file = nn.Linear(784, 300).state_dict(), tmp_path / f"mine{suffix}"
    full = {"hidden.weight": state["weight"], "hidden.bias": state["bias"]}
    full |= {"output.weight": torch.rand(10, 300), "output.bias": torch.rand(10)}
    save_file(full, file) if suffix == ".safetensors" else torch.save({"state_dict": full}, file)
    classifier = rf.load_classifier("mlp300", weights=str(file), mean=0.0, std=1.0)
    assert isinstance(classifier, rf.TorchClassifier)
    assert classifier.info.checkpoint == (None if suffix == ".safetensors" else "state_dict")
    assert torch.equal(classifier.network.state_dict()["network.output.bias"], full["output.bias"])


def test_a_prefix_is_added_too(tmp_path: Path, state: State) -> None:
    wrapped = nn.Module()
    wrapped.model = network()
    _, found = load(save(tmp_path, state), wrapped)
    assert found == "prefix model. added"
    assert torch.equal(wrapped.state_dict()["model.0.weight"], state["0.weight"])


@pytest.mark.parametrize(
    ("held", "chosen", "other"),
    [
        (lambda one, two: {"model": one, "model_ema": two}, "model", "model_ema"),
        (lambda one, two: {"state_dict_ema": two, "state_dict": one}, "state_dict", "state_dict_ema"),
        (lambda one, two: {**under("teacher.", two), **under("student.", one)}, "keys student.*", "keys teacher.*"),
        (lambda one, two: {"first": one, "second": two}, "first", "second"),
    ],
)
def test_several_weights_that_fit_are_named(
    tmp_path: Path, state: State, held: Callable[[State, State], object], chosen: str, other: str
) -> None:
    two = under("", state, 1.0)
    made, found = load(save(tmp_path, held(state, two)))
    assert torch.equal(made.state_dict()["0.weight"], state["0.weight"])
    assert found.startswith(chosen)
    assert f"other weights in the file fit too ({other}): save these alone" in found
    part = two if other.startswith("keys") else torch.load(tmp_path / "mine.pth")[other]
    made, found = load(save(tmp_path, part, "alone.pth"))  # as the text says
    assert (found, torch.equal(made.state_dict()["0.weight"], two["0.weight"])) == ("", True)


def test_equal_weights_are_one(tmp_path: Path, state: State) -> None:
    assert load(save(tmp_path, {"model": state, "best": state}))[1] == "model"


def test_other_entries_beside_the_network(tmp_path: Path, state: State) -> None:
    averaged = {"n_averaged": torch.tensor(5), **under("module.", state)}
    assert load(save(tmp_path, averaged))[1] == "keys module.*; left out: n_averaged"
    lightning = {"state_dict": {**under("model.", state), "criterion.weight": torch.ones(4)}}
    assert load(save(tmp_path, lightning))[1] == "state_dict, keys model.*; left out: criterion.weight"


@pytest.mark.parametrize("name", ["mean", "normalize.std", "mu"])
def test_a_normalisation_is_never_left_out(tmp_path: Path, state: State, name: str) -> None:
    with pytest.raises(ModelError, match=rf"first outside the prefix {name}"):
        load(save(tmp_path, {**under("model.", state), name: torch.ones(3)}))


def test_other_words_are_no_prefix(tmp_path: Path, state: State) -> None:
    with pytest.raises(ModelError, match="of another architecture: 0 of 9 keys fit"):
        load(save(tmp_path, under("decoder.", state)))


def test_another_number_of_classes(tmp_path: Path) -> None:
    file = save(tmp_path, {"state_dict": under("module.", network(7).state_dict())})
    with pytest.raises(ModelError, match=r"network's 4 classes, got 7 in .*state_dict, keys module\.\*\): pass --num-classes 7"):
        load(file)
    load(file, network(7))
    with pytest.raises(ModelError, match="make the network with 7 classes"):
        load_checkpoint(network(), file, takes_num_classes=False)


def test_the_number_of_classes_is_read_or_passed(tmp_path: Path) -> None:
    from torchvision.models import squeezenet1_1

    file = save(tmp_path, squeezenet1_1(num_classes=7).state_dict())
    settings: dict[str, Any] = {"weights": str(file), "mean": 0.5, "std": 0.5}
    with pytest.raises(ModelError, match=r"8 classes, got 7 in .*: pass --num-classes 7"):
        rf.load_classifier("torchvision:squeezenet1_1", num_classes=8, **settings)
    assert rf.load_classifier("torchvision:squeezenet1_1", **settings).num_classes == 7
    assert rf.load_classifier("torchvision:squeezenet1_1", num_classes=7, **settings).num_classes == 7


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_nearly_the_same_architecture(tmp_path: Path, state: State, change: str) -> None:
    if change == "missing":
        del state["3.bias"]
    elif change == "unexpected":
        state["4.bias"] = torch.ones(2)
    else:
        state["0.weight"] = torch.rand(2, 3, 3, 3)
    with pytest.raises(ModelError, match=r"[89] of (9|10) keys fit; first .*: name the architecture"):
        load(save(tmp_path, {"state_dict": state}))


def test_not_finite(tmp_path: Path, state: State) -> None:
    state["3.bias"][0] = torch.nan
    with pytest.raises(ModelError, match=r"with 3\.bias not finite"):
        load(save(tmp_path, {"state_dict": state}))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 2}

    def set_extra_state(self, state: Any) -> None:
        assert state == {"version": 2}


def test_tied_weights_and_extra_state(tmp_path: Path) -> None:
    state = Tied().state_dict()
    del state["second.weight"]  # as files that hold each tensor once
    made, _ = load(save(tmp_path, {"model": state}), Tied())
    assert torch.equal(made.state_dict()["second.weight"], state["first.weight"])


def test_plain_data_beside_the_weights(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("AttributeDict", (dict,), {"__module__": "lightning_fabric.utilities.data"})  # as Lightning pickles it
    module = ModuleType(kind.__module__)
    module.AttributeDict = kind  # type: ignore[attr-defined]
    for name in ("lightning_fabric", "lightning_fabric.utilities", "lightning_fabric.utilities.data"):
        monkeypatch.setitem(sys.modules, name, module)
    held = {
        "state_dict": under("model.", state),
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "best": np.float64(0.5)}},
        "hyper_parameters": kind(lr=0.1),
        "args": argparse.Namespace(lr=0.1, name="run"),
    }
    assert load(save(tmp_path, held, "epoch=3.ckpt"))[1] == "state_dict, keys model.*"


def test_a_whole_network_is_refused_and_the_remedy_works(tmp_path: Path, state: State) -> None:
    whole = network()
    whole.load_state_dict(state)
    file = save(tmp_path, whole)
    with pytest.raises(UnsafeError, match=r"weights_only=False\), and torch\.save the state_dict\(\) only"):
        load(file)
    made, _ = load(save(tmp_path, torch.load(file, weights_only=False).state_dict(), "again.pth"))
    assert torch.equal(made.state_dict()["0.weight"], state["0.weight"])
