"""Weights of `rfgsm train` describe their network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.saved_weights import WEIGHTS_FILE, complete_request, weights_bytes


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
