"""Devices by their names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.models.device import pick_device
from robustbench_fgsm.models.load import load_classifier


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["nosuch", "", "cpu:x", "cuda:99", "meta"])
def test_rejects_an_unusable_device(device: str) -> None:
    with pytest.raises(SettingError, match=f"must be auto, cpu or one that PyTorch has here, got '{device}'") as refused:
        load_classifier("mlp300", device=device)
    assert "\n" not in str(refused.value)


def test_wrap_takes_a_device() -> None:
    assert rf.wrap(nn.Linear(4, 2), 2, device=torch.device("cpu")).device.type == "cpu"
    with pytest.raises(SettingError, match=r"got 'gpu'.*: pass cpu or auto"):
        rf.wrap(nn.Linear(4, 2), 2, device="gpu")
