"""What computed a result: versions, device and threads, as reported in JSON under `environment`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def describe_environment(device: torch.device) -> dict[str, str | int]:
    """Versions of what the numbers depend on, the device by name, and the number of CPU threads."""
    import torch

    return describe_software() | {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
    }


def describe_software() -> dict[str, str | int]:
    """The same without loading torch, for what needs no tensor and so no other device than the CPU; without threads."""
    return {
        "package": version("robustbench-fgsm"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
        "device": "cpu",
        "platform": platform.platform(),
    }


def describe_processor() -> dict[str, str | int]:
    """The processor by its own name, and how many of its cores this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"processor": _processor_name(), "cores": usable}


def _processor_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
