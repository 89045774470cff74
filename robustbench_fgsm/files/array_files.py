"""Read and write arrays in files of run directories: safetensors and npz."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.files.regular_files import open_to_read

if TYPE_CHECKING:
    from torch import Tensor


def write_safetensors(file: Path, tensors: dict[str, Tensor]) -> None:
    """Write a new safetensors file; raise ResourceError if this fails."""
    from safetensors.torch import save_file

    try:
        save_file(tensors, file)
    except SafetensorError as error:
        raise ResourceError(f"{file.name} must be writable, got {error}: free some space or choose another directory") from error


def read_safetensors(file: Path, without: str = "", framework: Literal["pt", "np"] = "pt") -> dict[str, Any]:
    """Return the tensors (`np`: arrays) of a regular safetensors file, except the one that is left out.

    Raises ValueError if the file is malformed.
    """
    open_to_read(file).close()  # safetensors opens by name only
    try:
        with safe_open(file, framework) as stored:
            return {name: stored.get_tensor(name) for name in stored.keys() if name != without}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file.name}: {error}") from error


def read_npz(file: Path, without: str = "") -> dict[str, NDArray[Any]]:
    """Return the arrays of a regular npz file as numpy.savez writes it, except the one that is left out.

    Raises ValueError if the file is malformed, is compressed, or claims arrays that are larger than the file.
    """
    with open_to_read(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            with zipfile.ZipFile(stream) as archive:
                return {
                    name: _read_member(archive, member, size)
                    for member in archive.infolist()
                    if (name := member.filename.removesuffix(".npy")) != without
                }
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{file.name}: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    with archive.open(member) as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{member.filename} claims {shape}, more than the file holds")
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array
