"""What computed a result: versions, device and threads, as reported in JSON under `environment`."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch


def describe_environment(device: torch.device) -> dict[str, str | int]:
    """Versions of what the numbers depend on, the device by name, and the number of CPU threads."""
    return {
        "package": version("robustbench-fgsm"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }
