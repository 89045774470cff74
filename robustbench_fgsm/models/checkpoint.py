"""Loading of weights from a file into a network: strictly, and without running code from the file."""

from __future__ import annotations

import argparse
import math
import pickle
import re
import struct
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from robustbench_fgsm.errors import ModelError, RfgsmError, UnsafeError, describe_error, first_line
from robustbench_fgsm.files.array_files import read_safetensors
from robustbench_fgsm.files.regular_files import SMALL_BYTES, open_to_read
from robustbench_fgsm.files.zip_archives import ZIP_ERRORS, check_checksums, open_zip

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "last")
"""Keys under which most training programs keep the state dict, the usual ones first."""

MAX_NESTING = 3
"""Mappings inside each other in which a state dict is looked for."""

EXTRA_STATE_SUFFIX = "_extra_state"
"""End of the key of what a module adds to its tensors; it may be any value."""

ATTRIBUTE_DICT_NAMES = (
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
"""Lightning's class of hyperparameters, a dictionary, in its versions."""

SAFE_TORCH_VERSION = "2.10"
"""Before it, files could run code in spite of weights_only=True (CVE-2025-32434, CVE-2026-24747)."""

ZIP_MAGIC, TAR_MAGIC, TAR_MAGIC_OFFSET = b"PK\x03\x04", b"ustar", 257

MALFORMED_PICKLE_ERRORS = (
    *(RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(OverflowError, AssertionError, struct.error),
)
"""What PyTorch's restricted unpickler raises for damaged bytes, beside `UnpicklingError`."""

MAX_STORED_EXPANSION = 4
"""Bytes of all tensors for each byte of their file, at most, if there are more than SMALL_BYTES; names of one tensor count once."""

OTHER_TYPE = "of another type"
"""Problem of integers, complex numbers, and sparse or quantised tensors where the network has floating-point numbers."""

TYPE_REMEDY = "save them as dense floating-point tensors, which integers of a quantised network become by their scale"

BATCH_COUNTER_SUFFIX = ".num_batches_tracked"
"""Batch norm's counters, which evaluation does not read and which checkpoints older than PyTorch 0.4.1 lack."""


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the state dict of a safetensors, .pt or .pth file, 16-bit tensors as float32.

    A pickled file is always read with weights_only=True, which no environment variable overrides. Of several state dicts the most
    usual one is returned, and keys that all begin with `module.` lose this prefix. Raises UnsafeError if the file needs more than
    tensors; ModelError if the file has no readable weights.
    """
    found = read_state_dicts(file)
    name = next((key for key in STATE_DICT_KEYS if key in found), next(iter(found)))
    state = found[name]
    return strip_prefix(state, "module." if state and all(key.startswith("module.") for key in state) else "")


def read_state_dicts(file: Path) -> dict[str, Mapping[str, Tensor]]:
    """Return all state dicts of a file by their place in it, such as `state_dict`; the place is empty for the file itself.

    Raises as `read_weights`.
    """
    return {"": _read_safetensors(file)} if file.suffix.lower() == ".safetensors" else _read_pickled(file)


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries below a prefix of the keys, without the prefix, 16-bit tensors as float32."""
    inside_prefix = {key: value for key, value in state.items() if key.startswith(prefix)}
    widened = {_tensor_key(value): _widen(value) for value in inside_prefix.values()}  # once for all names of one tensor
    kept = {key.removeprefix(prefix): widened[_tensor_key(value)] for key, value in inside_prefix.items()}
    if not hasattr(state, "_metadata"):
        return kept
    inside = prefix.removesuffix(".")
    known = state._metadata.items() if isinstance(state._metadata, Mapping) else ()
    parts = {
        key.removeprefix(inside).removeprefix("."): value for key, value in known if not inside or f"{key}.".startswith(prefix)
    }
    return _WithMetadata(kept, parts)  # versions of layouts, by which some networks convert old checkpoints


def _tensor_key(value: Any) -> object:
    """Return what is equal for two names of one tensor only: place, shape and strides of its values."""
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
        return value.data_ptr(), value.dtype, tuple(value.shape), value.stride()
    return id(value)


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() and value.itemsize < 4 else value


class _WithMetadata(dict[str, Tensor]):
    """State dict with the metadata that `load_state_dict` reads."""

    def __init__(self, state: Mapping[str, Tensor], metadata: object) -> None:
        super().__init__(state)
        self._metadata = metadata


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = read_safetensors(file, follow_links=True)
    except RfgsmError:
        raise
    except FileNotFoundError:
        raise _missing_file_error(file) from None
    except (ValueError, OSError) as error:
        raise ModelError(
            f"weights must be a safetensors file, got {file}, which cannot be read ({describe_error(error)}): write it again"
        ) from error
    return state


def _read_pickled(file: Path) -> dict[str, Mapping[str, Tensor]]:
    try:
        with open_to_read(file, follow_links=True) as stream:
            found = read_pickled(stream, str(file))
    except FileNotFoundError:
        raise _missing_file_error(file) from None
    except OSError as error:
        raise _unreadable_error(str(file), error) from error
    states = dict(_state_dicts_in(found))
    check_stored_size([value for state in states.values() for value in state.values()], file.stat().st_size, str(file))
    if not states:
        kinds = sorted({type(value).__name__ for value in found.values()}) if isinstance(found, dict) else [type(found).__name__]
        raise ModelError(
            f"weights must be a state dict of tensors, got {file} with {', '.join(kinds)}: save the state_dict() alone"
        )
    return states


def _state_dicts_in(found: Any, place: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    if not isinstance(found, Mapping):
        return
    if all(isinstance(key, str) and _is_entry(key, value) for key, value in found.items()):
        if found or not place:
            yield place, found
    elif place.count(".") < MAX_NESTING:
        for key, value in found.items():
            if isinstance(key, str):
                yield from _state_dicts_in(value, f"{place}.{key}" if place else key)


def _is_entry(key: str, value: Any) -> bool:
    return isinstance(value, Tensor) or key.endswith(EXTRA_STATE_SUFFIX)


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
        _check_container(stream, name)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_data_types()):
            warnings.simplefilter("ignore")  # of what is refused below
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeError(
            f"weights must hold tensors alone, got {name}, which asks for more ({_refused_operation(error)}): "
            "if you trust the file, open it once with torch.load(FILE, weights_only=False), and torch.save the state_dict() only"
        ) from error
    except MALFORMED_PICKLE_ERRORS as error:
        if "TorchScript" in str(error):
            raise UnsafeError(
                f"weights must hold tensors alone, got {name}, which is TorchScript, a program: "
                "pass the file as --model if you trust it, or save the state_dict()"
            ) from error
        raise _unreadable_error(name, error) from error


def _check_container(stream: IO[bytes], name: str) -> None:
    """Raise FileError or ModelError for an archive that unpacks to far more than its size or is damaged, and for other formats."""
    head = stream.read(TAR_MAGIC_OFFSET + len(TAR_MAGIC))
    if head.startswith(ZIP_MAGIC):
        try:
            with open_zip(stream, name, MAX_STORED_EXPANSION) as archive:
                check_checksums(archive)
        except ZIP_ERRORS as error:
            raise _unreadable_error(name, error) from error
    elif head.endswith(TAR_MAGIC):
        raise ModelError(f"weights must be a state dict that PyTorch saved, got {name}, a tar archive: save the state_dict() again")
    elif head.lstrip().startswith(b"<"):
        raise ModelError(f"weights must be a state dict that PyTorch saved, got {name}, a web page: download the file itself")
    elif head[8:9] == b"{" and not any(head[5:8]):  # the header's length, then the header
        raise ModelError(f"weights must be a state dict that PyTorch saved, got {name}, a safetensors file: call it .safetensors")
    stream.seek(0)


def check_stored_size(values: Sequence[Any], size: int, name: str) -> None:
    """Raise ModelError if tensors have far more values than a file of this size in bytes holds: one value may stand for many."""
    tensors = {_tensor_key(value): value for value in values if isinstance(value, Tensor)}
    claimed = sum(value.numel() * value.element_size() for value in tensors.values())
    if claimed > max(MAX_STORED_EXPANSION * size, SMALL_BYTES):
        raise ModelError(
            f"weights must be stored value by value, got {name} with tensors of {claimed:,} bytes in {size:,}: "
            "save {key: value.clone() for key, value in state_dict().items()}"
        )


def _plain_data_types() -> list[Any]:
    """Return types of plain data that training programs put beside the weights, and that run nothing when they are made."""
    number = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_)}
    return [
        argparse.Namespace,
        np.dtype,
        *dtypes,
        *((number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        *((OrderedDict, name) for name in ATTRIBUTE_DICT_NAMES),
    ]


def _unreadable_error(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"weights must be a state dict that PyTorch saved, got {name}, which cannot be read "
        f"({type(error).__name__}: {first_line(error).partition('. ')[0]}): write it again"
    )


def load_weights(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy a state dict into the network; raise as `check_state` does."""
    check_state(network, state, origin)
    network.load_state_dict(state, strict=False)  # only counters and second names of one tensor are missing


def check_state(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Raise ModelError naming keys of a state dict that are missing, unexpected, misshapen or not finite."""
    problems = find_problems(network.state_dict(), state)
    found = [f"{first_keys(sorted(keys))} {problem}" for problem, keys in problems.items() if keys]
    remedy = TYPE_REMEDY if found == [f"{first_keys(sorted(problems[OTHER_TYPE]))} {OTHER_TYPE}"] else ""
    if found:
        raise ModelError(
            f"weights must fit the network exactly, got {origin} with {'; '.join(found)}: "
            f"{remedy or 'name the architecture they were trained for'}"
        )


def find_problems(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, set[str]]:
    """Return the keys for which a state dict does not fit a network's own, by the kind of the problem."""
    shared = {_storage(own[key]) for key in own.keys() & state.keys()} - {None}
    return {
        "missing": {
            key for key in own.keys() - state.keys() if not key.endswith(BATCH_COUNTER_SUFFIX) and _storage(own[key]) not in shared
        },
        "unexpected": {*(state.keys() - own.keys())},
        "of another shape": {key for key in own.keys() & state.keys() if _shape(own[key]) != _shape(state[key])},
        OTHER_TYPE: {key for key in own.keys() & state.keys() if not _has_type_of(state[key], own[key])},
        "not finite": nonfinite_keys({key: state[key] for key in own.keys() & state.keys() if _has_type_of(state[key], own[key])}),
    }


def _storage(value: Any) -> tuple[int, ...] | None:
    """Return what two names of one tensor have in common."""
    has_storage = isinstance(value, Tensor) and value.layout == torch.strided and value.numel() > 0
    return (value.data_ptr(), *value.shape) if has_storage else None


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _has_type_of(value: Any, own: Any) -> bool:
    """Return False if the network's tensor is floating point, and the value is integers, complex, sparse, quantised or no value."""
    if isinstance(value, Tensor) and value.is_meta:
        return False
    if not (isinstance(value, Tensor) and isinstance(own, Tensor) and own.is_floating_point()):
        return True
    return value.is_floating_point() and value.layout == own.layout


def nonfinite_keys(state: Mapping[str, Tensor]) -> set[str]:
    """Return the keys of tensors that hold NaN or infinity."""
    return {key for key, value in state.items() if isinstance(value, Tensor) and not _is_finite(value)}


def _is_finite(value: Tensor) -> bool:
    plain = value.dequantize() if value.is_quantized else value
    dense = plain if plain.layout == torch.strided else plain.to_dense()
    if dense.dtype == torch.float32 and math.isfinite(dense.detach().sum()):  # five times as fast; a sum may overflow
        return True
    return bool(dense.isfinite().all())


def check_finite_weights(network: nn.Module, origin: str) -> None:
    """Raise ModelError naming the weights that are not finite."""
    if keys := nonfinite_keys(network.state_dict()):
        raise ModelError(f"weights must be finite, got {origin} with {first_keys(sorted(keys))} not finite: train it again")


def check_parameter_count(create: Callable[[], nn.Module], size: int, origin: str) -> None:
    """Raise ModelError if a network has more parameters than its weights have bytes; none of them is allocated.

    create: returns the network. size: bytes of the weights. origin: their name in the message.
    """
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in create().parameters())
    if count > size:
        raise ModelError(
            f"weights must hold the {count:,} parameters of the network, got {origin} of {size:,} bytes: "
            "correct the sizes that the file states, or fetch it again"
        )


def _missing_file_error(file: Path) -> ModelError:
    return ModelError(f"weights must be a file of weights, got {file}, which does not exist: check the path")


def _refused_operation(error: Exception) -> str:
    """Return what PyTorch's restricted unpickler refused, such as `GLOBAL posix.system`."""
    found = re.search(r"WeightsUnpickler error: (?:Unsupported global: )?(\S+ \S+)", str(error))
    return found[1].rstrip(",.") if found else first_line(error).partition(". ")[0]


def first_keys(keys: list[str]) -> str:
    """Return the first keys, and how many more there are."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
