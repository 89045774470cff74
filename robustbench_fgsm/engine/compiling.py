"""Whether `torch.compile` pays for itself within a run."""

from __future__ import annotations

import importlib.util
import shutil
from typing import cast

import torch
from torch import nn

COST = {"cpu": 60.0, "cuda": 90.0}
"""Seconds that compiling the forward and the backward pass of a large network takes, on the safe side."""

GAIN = {"cpu": 0.05, "cuda": 0.2}
"""Share of the time that it saves, on the safe side: little on a CPU."""


def available(device: torch.device) -> bool:
    """Whether there is what compiles for the device: a C++ compiler, or Triton."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return device.type == "cpu" and any(map(shutil.which, ("g++", "clang++", "cl")))


def pays(seconds: float, device: torch.device) -> bool:
    """Whether a run of that many seconds is over sooner with compilation than without."""
    return device.type in COST and seconds * GAIN[device.type] > COST[device.type]


def compiled(network: nn.Module) -> nn.Module:
    """The network compiled when it is first called."""
    return cast("nn.Module", torch.compile(network))
