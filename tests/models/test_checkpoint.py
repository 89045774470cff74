"""Weights fit exactly or are refused by name; a damaged file is refused, whatever was done to it."""

from __future__ import annotations

import math
import random
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.cards import FOLDER
from robustbench_fgsm.models.checkpoint import load_weights, read_weights

SMALLEST = FOLDER / "mlp300-fashion-mnist-standard.safetensors"


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def fitting(network: nn.Module) -> dict[str, Tensor]:
    return {key: torch.ones_like(value) for key, value in network.state_dict().items()}


def test_weights_that_fit_are_copied(network: nn.Sequential) -> None:
    load_weights(network, fitting(network), "here")
    assert all(bool((value == 1).all()) for value in network.state_dict().values())


def test_a_missing_key_is_named(network: nn.Sequential) -> None:
    state = fitting(network)
    del state["0.bias"]
    with pytest.raises(ModelError, match=r"got here with 0\.bias missing: name the architecture"):
        load_weights(network, state, "here")


def test_an_unexpected_key_is_named(network: nn.Sequential) -> None:
    with pytest.raises(ModelError, match=r"with fc\.weight unexpected:"):
        load_weights(network, fitting(network) | {"fc.weight": torch.ones(1)}, "here")


def test_a_misshapen_key_is_named(network: nn.Sequential) -> None:
    with pytest.raises(ModelError, match=r"with 0\.weight of another shape:"):
        load_weights(network, fitting(network) | {"0.weight": torch.ones(2, 3)}, "here")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_key_that_is_not_finite_is_named(network: nn.Sequential, value: float) -> None:
    with pytest.raises(ModelError, match=r"with 1\.running_var not finite:"):
        load_weights(network, fitting(network) | {"1.running_var": torch.tensor([1.0, value, 1.0])}, "here")


def test_all_that_is_wrong_is_said_at_once(network: nn.Sequential) -> None:
    state = fitting(network) | {"extra": torch.ones(1), "0.bias": torch.ones(7)}
    del state["0.weight"]
    with pytest.raises(ModelError, match=r"0\.weight missing; extra unexpected; 0\.bias of another shape"):
        load_weights(network, state, "here")


def test_many_keys_are_counted(network: nn.Sequential) -> None:
    with pytest.raises(ModelError, match=r"0\.bias, 0\.weight, 1\.bias and 3 more missing"):
        load_weights(network, {}, "here")


def test_a_network_that_was_refused_weights_keeps_its_own(network: nn.Sequential) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError):
        load_weights(network, fitting(network) | {"0.bias": torch.full((3,), math.nan)}, "here")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_half_precision_is_read_as_single_and_integers_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "half.safetensors"
    save_file({"w": torch.tensor([0.1]).half(), "n": torch.tensor([3])}, file)
    state = read_weights(file)
    assert torch.equal(state["w"], torch.tensor([0.1]).half().float())
    assert (state["w"].dtype, state["n"].dtype) == (torch.float32, torch.int64)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nosuch\.safetensors, which does not exist: check the path"):
        read_weights(tmp_path / "nosuch.safetensors")


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(tmp_path)


@pytest.mark.timeout(60)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole, file = SMALLEST.read_bytes(), tmp_path / "cut.safetensors"
    draw = random.Random(0)
    for length in [0, 7, 8, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(50))]:
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="cannot be read"):
            read_weights(file)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [10**9, 2**63, 99_000_000])
def test_a_header_that_claims_to_be_huge_is_refused(tmp_path: Path, length: int) -> None:
    file = tmp_path / "huge.safetensors"
    file.write_bytes(struct.pack("<Q", length) + SMALLEST.read_bytes()[8:])
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(file)


@pytest.mark.parametrize("content", [b"\x80\x02}q\x00.", b"{}", b"PK\x03\x04" + bytes(100), bytes(1000)])
def test_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "pickle.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(file)
