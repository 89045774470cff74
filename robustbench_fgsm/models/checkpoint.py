"""Weights from a safetensors file into a network, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError


def read_weights(file: Path) -> dict[str, Tensor]:
    """State dict of a safetensors file, floating tensors as float32; raises ModelError where there is none to be read."""
    try:
        state = load_file(file)
    except FileNotFoundError:
        raise ModelError(
            f"weights must be a safetensors file, got {file}, which does not exist: check the path"
        ) from None
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"weights must be a safetensors file, got {file}, which cannot be read ({error}): write it again"
        ) from error
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy a state dict into the network; raises ModelError naming the keys that are missing, extra, misshapen or not finite."""
    own = network.state_dict()
    problems = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "of another shape": {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape},
        "not finite": {key for key, value in state.items() if not bool(value.isfinite().all())},
    }
    found = [f"{_some(sorted(keys))} {problem}" for problem, keys in problems.items() if keys]
    if found:
        raise ModelError(
            f"weights must fit the network exactly, got {source} with {'; '.join(found)}: "
            "name the architecture they were trained for"
        )
    network.load_state_dict(state)


def _some(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
