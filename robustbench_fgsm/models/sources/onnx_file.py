"""Reading of an ONNX file: its sizes, places and operator sets are checked before the graph is converted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

import onnx
from google.protobuf.message import DecodeError, Message
from pydantic import ConfigDict, Field

from robustbench_fgsm.errors import FileError, ModelError, UnsafeError, describe_error, first_line
from robustbench_fgsm.files.regular_files import is_file, is_present, read_bytes
from robustbench_fgsm.files.validation import FileSchema, validate

MAX_FILE_BYTES = 2**31
"""Largest message of protobuf."""

MAX_AXES = 64
OWN_DOMAINS = ("", "ai.onnx")

PACKED_TYPES = {number for name, number in onnx.TensorProto.DataType.items() if name.endswith(("INT2", "INT4", "FLOAT4E2M1"))}
"""Types of several values in a byte."""

COMPLEX_TYPES = (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)
DATA_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
"""Fields in which a tensor without raw data has its values."""

Digits = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]


class ExternalData(FileSchema):
    """Where a tensor lies that is not in the file."""

    model_config = ConfigDict(extra="forbid")

    location: Annotated[str, Field(min_length=1, max_length=4096)]
    offset: Digits = "0"
    length: Digits | None = None
    checksum: str | None = None


def read_model(file: Path) -> tuple[Any, str]:
    """Return the model with its external tensors, and the SHA-256 of its file.

    Raises UnsafeError, before any tensor is read, if an external tensor is not a plain file in or below the model's folder;
    ModelError if the model is malformed, or a tensor has another size than it states.
    """
    try:
        content = read_bytes(file, MAX_FILE_BYTES, follow_links=True)
        model = onnx.load_model_from_string(content)
    except FileNotFoundError:
        raise ModelError(f"model must be a file, got {file}, which does not exist: check the path") from None
    except (OSError, DecodeError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise ModelError(
            f"model must be an ONNX file, got {file}, which cannot be read ({first_line(error)}): export it again"
        ) from error
    for tensor in _messages(model, onnx.TensorProto):
        _check_tensor(tensor, file)
    try:
        onnx.load_external_data_for_model(model, str(file.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{file} must have its external data beside it, got {describe_error(error)}: copy both files") from error
    _check_model(model, file)
    return model, hashlib.sha256(content).hexdigest()


def _messages(message: Message, kind: type[Message]) -> Iterator[Any]:
    """Yield the messages of a kind anywhere in the model: in initialisers, attributes, subgraphs, functions."""
    if isinstance(message, kind):
        yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from _messages(part, kind) if isinstance(part, Message) else ()


def _check_tensor(tensor: Any, file: Path) -> None:
    """Raise ModelError or UnsafeError if a tensor has an impossible size, or its external data are not as it states."""
    name = f"tensor {tensor.name[:60]!r} of {file}"
    try:
        bits = math.ceil(8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{name} must have a valid data_type, got {tensor.data_type}: export it again") from None
    if len(tensor.dims) > MAX_AXES or any(length < 0 for length in tensor.dims):
        raise ModelError(f"{name} must have valid dims, got {list(tensor.dims)!s:.60}: export it again")
    wanted, packed = math.prod(tensor.dims) * bits // 8, tensor.data_type in PACKED_TYPES
    if not tensor.external_data:
        values = 2 * wanted * 8 // bits if tensor.data_type in COMPLEX_TYPES else wanted * 8 // bits
        fits = (
            len(tensor.raw_data) == wanted if tensor.raw_data else max(len(getattr(tensor, key)) for key in DATA_FIELDS) == values
        )
        if not (fits or packed):
            raise ModelError(f"{name} must have as many values as its dims {list(tensor.dims)!s:.60} state: export it again")
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    external = validate(ExternalData, entries, f"external data of {name}", ModelError, "export it again")
    _check_inside_folder(file.parent, external.location)
    place = file.parent / external.location
    stored = place.stat().st_size - int(external.offset) if is_file(place) else 0
    length = stored if external.length is None else int(external.length)
    if is_file(place) and (length > stored or (not packed and length != wanted)):
        raise ModelError(
            f"external data of {name} must have {wanted:,} bytes, got {min(length, max(stored, 0)):,} in {external.location}: "
            "copy the whole file, or export it again"
        )


def _check_inside_folder(folder: Path, location: str) -> None:
    parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
    outside = ".." in parts or PurePosixPath(location).is_absolute() or bool(PureWindowsPath(location).anchor)
    path = folder / location
    inside = [path, *path.parents[: len(PurePosixPath(location).parts) - 1]]
    linked = not outside and any(path.is_symlink() for path in inside)
    hard_linked = not outside and is_file(path) and path.stat().st_nlink > 1
    if outside or linked or hard_linked or (is_present(path) and not is_file(path)):
        why = "leaves its folder" if outside else "is a link" if linked or hard_linked else "is no file"
        raise UnsafeError(f"external data must be a plain file in the model's folder, got {location[:200]!r}, which {why}")


def _check_model(model: Any, file: Path) -> None:
    """Raise ModelError unless ONNX's own checker accepts the model, its operators are ONNX's own, and their set is known."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = next((versions[domain] for domain in OWN_DOMAINS if domain in versions), None)
    newest = onnx.defs.onnx_opset_version()
    if version is None or not 1 <= version <= newest:
        raise ModelError(f"{file} must import operator set 1 to {newest}, got {version}: export it with opset_version=17")
    for node in _messages(model.graph, onnx.NodeProto):
        if node.domain not in OWN_DOMAINS:
            raise ModelError(
                f"{file} must have operators of ONNX alone, got {node.op_type[:60]} of {node.domain[:60]!r}: export it without"
            )
    if model.ByteSize() >= MAX_FILE_BYTES:  # which the checker takes from a file alone
        return
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # a wrong field may cause any error in the checker, which is C++
        raise ModelError(
            f"{file} must be a valid ONNX model, got {describe_error(error)}: export it with opset_version=17"
        ) from error
