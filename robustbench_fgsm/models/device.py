"""The device on which a network runs, by its name."""

from __future__ import annotations

import torch

from robustbench_fgsm.errors import SettingError, first_line
from robustbench_fgsm.spec import parse_device_name


def pick_device(device: str | torch.device) -> torch.device:
    """Return the device of that name; `auto` is CUDA if available, else the CPU. Raise SettingError if there is no such device."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(parse_device_name(device) if isinstance(device, str) else device)
        torch.empty(0, device=chosen).cpu()  # there, and able to give its numbers back, unlike `meta`
    except (RuntimeError, AssertionError, TypeError) as error:
        raise SettingError(
            f"device must be auto, cpu or one that PyTorch has here, got {str(device)!r} "
            f"({first_line(error).partition('. ')[0]}): pass cpu or auto"
        ) from None
    return chosen
