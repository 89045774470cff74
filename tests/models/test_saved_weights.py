"""Weights of `rfgsm train` describe their network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import robustbench_fgsm as rf
from robustbench_fgsm.errors import InputError, ModelError
from robustbench_fgsm.models.cards import WEIGHTS_FILE
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.saved_weights import complete_request, weights_bytes


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A directory of a training run with two classes and a mean."""
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes({"weight": torch.zeros(2)}, {"num_classes": 2, "mean": [0.5]}))
    return tmp_path


def test_a_directory_means_its_file(trained: Path) -> None:
    request = complete_request(ModelRequest("mlp300", "mlp300", str(trained)))
    assert (request.weights, request.num_classes, request.mean) == (str(trained / WEIGHTS_FILE), 2, (0.5,))


def test_settings_of_the_request_have_priority(trained: Path) -> None:
    assert complete_request(ModelRequest("mlp300", "mlp300", str(trained), num_classes=7)).num_classes == 7


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"without {WEIGHTS_FILE}"):
        complete_request(ModelRequest("mlp300", "mlp300", str(tmp_path)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_classes", "10"),
        ("num_classes", 1),
        ("num_classes", 10**7),
        ("num_classes", True),
        ("classes", ["a"]),
        ("classes", "ab"),
        ("mean", []),
        ("mean", [None]),
        ("std", [0.0]),
        ("std", -1),
        ("bounds", [1, 0]),
        ("bounds", [0]),
        ("shape", [1, 28, 0]),
        ("shape", [2**40, 1, 1]),
        ("shape", {}),
    ],
)
def test_names_a_wrong_field_of_the_description(tmp_path: Path, field: str, value: object) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(weights_bytes({"weight": torch.zeros(2)}, {"num_classes": 2, field: value}))
    with pytest.raises(InputError, match=field if field != "bounds" else "bounds|content") as said:
        complete_request(ModelRequest("mlp300", "mlp300", str(file)))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, '{"num_classes": 2, "num_classes": 3}'])
def test_a_description_must_be_an_object(tmp_path: Path, text: str) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(save({"weight": torch.zeros(2)}, metadata={"rfgsm": text}))
    with pytest.raises(InputError, match="metadata 'rfgsm' of"):
        complete_request(ModelRequest("mlp300", "mlp300", str(file)))


def test_claimed_sizes_are_compared_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(weights_bytes({"weight": torch.zeros(2)}, {"num_classes": 2, "shape": [1, 2**16, 2**16]}))
    with pytest.raises(ModelError, match=r"must hold the [\d,]+ parameters"):
        rf.load_classifier("mlp300", weights=str(file))
