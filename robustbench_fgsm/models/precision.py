"""Precision of a network: its floating-point type."""

from __future__ import annotations

import torch

from robustbench_fgsm.attack.network_call import REDUCED_DTYPES, network_dtypes
from robustbench_fgsm.errors import SettingError, did_you_mean

DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "float16", "bfloat16")}


def parse_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return the floating-point type of that name; raise SettingError for any other type."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise SettingError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r}: {did_you_mean(name, DTYPES)}")
    found: torch.dtype = DTYPES[name]
    return found


def dtype_text(network: object) -> str:
    """Return the name of the network's floating-point type; several with commas between; float32 if the network has none."""
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in network_dtypes(network)) or "float32"


def output_resolution(dtypes: str) -> float:
    """Return the relative rounding error of outputs that networks of these types return; 0 for float32 and float64."""
    names = dtypes.split(", ")
    return max((torch.finfo(DTYPES[name]).eps for name in names if DTYPES.get(name) in REDUCED_DTYPES), default=0.0)
