"""Loading of weights from a file into a network: strictly, and without running code from the file."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from robustbench_fgsm.errors import ModelError, UnsafeError, first_line

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "last")
"""Under which key training programs keep the state dict."""

SAFE_TORCH_VERSION = "2.6"
"""Before it, files could run code in spite of weights_only=True (CVE-2025-32434)."""

BATCH_COUNTER_SUFFIX = ".num_batches_tracked"
"""Batch norm's counters, which evaluation does not read and which checkpoints older than PyTorch 0.4.1 lack."""


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the state dict of a safetensors, .pt or .pth file, floating tensors as float32.

    A pickled file is always read with weights_only=True, which no environment variable overrides. A state dict under `state_dict`,
    and keys that all begin with `module.`, are recognised. Raises UnsafeError if the file needs more than tensors; ModelError if
    the file has no readable weights.
    """
    state = _read_pickled(file) if file.suffix in (".pt", ".pth", ".bin") else _read_safetensors(file)
    floats = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    if hasattr(state, "_metadata"):  # versions of layouts, by which some networks convert old checkpoints
        return _WithMetadata(floats, state._metadata)
    return floats


class _WithMetadata(dict[str, Tensor]):
    """State dict with the metadata that `load_state_dict` reads."""

    def __init__(self, state: Mapping[str, Tensor], metadata: object) -> None:
        super().__init__(state)
        self._metadata = metadata


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise _missing_file_error(file) from None
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"weights must be a safetensors file, got {file}, which cannot be read ({error}): write it again"
        ) from error


def _read_pickled(file: Path) -> dict[str, Tensor]:
    try:
        with file.open("rb") as stream:
            return _check_state_dict(_state_dict_in(read_pickled(stream, str(file))), file)
    except FileNotFoundError:
        raise _missing_file_error(file) from None
    except OSError as error:
        raise _unreadable_error(str(file), error) from error


def read_pickled(stream: IO[bytes], name: str) -> Any:
    """Return what `torch.save` wrote, if it is tensors and plain containers; name: the file's name in messages.

    Raises UnsafeError if the file needs more than tensors; ModelError if the file cannot be read.
    """
    if TorchVersion(torch.__version__) < SAFE_TORCH_VERSION:
        raise ModelError(
            f"reading {name} safely needs PyTorch {SAFE_TORCH_VERSION} or later, got {torch.__version__}: "
            "upgrade, or convert the file to safetensors"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeError(
            f"weights must hold tensors alone, got {name}, which asks for more ({_refused_operation(error)}): "
            "save the state_dict() only, best as safetensors"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if "TorchScript" in str(error):
            raise UnsafeError(
                f"weights must hold tensors alone, got {name}, which is TorchScript, a program: "
                "pass the file as --model if you trust it, or save the state_dict()"
            ) from error
        raise _unreadable_error(name, error) from error


def _unreadable_error(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"weights must be a state dict that PyTorch saved, got {name}, which cannot be read "
        f"({type(error).__name__}: {first_line(error).partition('. ')[0]}): write it again"
    )


def _state_dict_in(found: Any) -> Any:
    for key in STATE_DICT_KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            return found[key]
    return found


def _check_state_dict(state: Any, file: Path) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        kinds = sorted({type(value).__name__ for value in state.values()}) if isinstance(state, dict) else [type(state).__name__]
        raise ModelError(
            f"weights must be a state dict of tensors, got {file} with {', '.join(kinds)}: save the state_dict() alone"
        )
    prefix = "module."
    if state and all(key.startswith(prefix) for key in state):
        return {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def load_weights(network: nn.Module, state: Mapping[str, Tensor], origin: str, *, remedy: str = "") -> None:
    """Copy a state dict into the network; raise ModelError naming keys that are missing, unexpected, misshapen or not finite."""
    own = network.state_dict()
    problems = {
        "missing": {key for key in own.keys() - state.keys() if not key.endswith(BATCH_COUNTER_SUFFIX)},
        "unexpected": state.keys() - own.keys(),
        "of another shape": {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape},
        "not finite": nonfinite_keys(state),
    }
    found = [f"{_first_keys(sorted(keys))} {problem}" for problem, keys in problems.items() if keys]
    if found:
        raise ModelError(
            f"weights must fit the network exactly, got {origin} with {'; '.join(found)}: "
            f"{remedy or 'name the architecture they were trained for'}"
        )
    network.load_state_dict(state, strict=False)  # only counters are missing


def nonfinite_keys(state: Mapping[str, Tensor]) -> set[str]:
    """Return the keys of tensors that hold NaN or infinity."""
    return {key for key, value in state.items() if not bool(value.isfinite().all())}


def check_finite_weights(network: nn.Module, origin: str) -> None:
    """Raise ModelError naming the weights that are not finite."""
    if keys := nonfinite_keys(network.state_dict()):
        raise ModelError(f"weights must be finite, got {origin} with {_first_keys(sorted(keys))} not finite: train it again")


def _missing_file_error(file: Path) -> ModelError:
    return ModelError(f"weights must be a safetensors, .pt or .pth file, got {file}, which does not exist: check the path")


def _refused_operation(error: Exception) -> str:
    """Return what PyTorch's restricted unpickler refused, such as `GLOBAL posix.system`."""
    found = re.search(r"WeightsUnpickler error: (?:Unsupported global: )?(\S+ \S+)", str(error))
    return found[1].rstrip(",.") if found else first_line(error).partition(". ")[0]


def _first_keys(keys: list[str], limit: int = 3) -> str:
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
