"""Describe the environment of a result: versions, device and threads, the JSON object `environment`."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_fgsm.files.regular_files import is_present, read_bytes

MAX_LISTING_BYTES = 2**24

if TYPE_CHECKING:
    import torch


def describe_environment(device: torch.device) -> dict[str, str | int]:
    """Return the versions that the numbers depend on, the name of the device, and the number of CPU threads."""
    import torch

    return describe_software() | {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
    }


installed_version = cache(version)
"""Version of an installed distribution, whose file of metadata takes a millisecond to parse."""


def describe_software() -> dict[str, str | int]:
    """Return versions and platform without loading torch, for work that needs only the CPU."""
    return {
        "package": installed_version("robustbench-fgsm"),
        "python": platform.python_version(),
        "torch": installed_version("torch"),
        "torchvision": installed_version("torchvision"),
        "numpy": installed_version("numpy"),
        "device": "cpu",
        "platform": platform.platform(),
    }


def describe_processor() -> dict[str, str | int]:
    """Return the name of the processor, and the number of cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"processor": _processor_name(), "cores": usable}


def _processor_name() -> str:
    listing = Path("/proc/cpuinfo")
    if is_present(listing):
        for line in read_bytes(listing, MAX_LISTING_BYTES).decode(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
