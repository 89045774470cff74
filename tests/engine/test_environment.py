"""What computed a result."""

from __future__ import annotations

import platform

import torch

import robustbench_fgsm as rf
from robustbench_fgsm.engine.environment import describe_environment


def test_versions_device_and_threads() -> None:
    found = describe_environment(torch.device("cpu"))
    expected = {
        "package": rf.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }
    assert expected.items() <= found.items()
