"""`npz:FILE`: NumPy arrays, mapped into memory unless they are compressed. Pickles inside are never opened."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, find_array_keys
from robustbench_fgsm.errors import DataError, RfgsmError, UnsafeError

ZIP_LOCAL_HEADER_BYTES = 30
"""Bytes of a zip member's own header, before its name and extra field."""


def load(argument: str, options: DataOptions) -> Dataset:
    """Return the images and labels of an .npz file, and class names from a text array `classes`, if present.

    Raises UnsafeError if the file holds pickled objects; DataError if the file cannot be read, or does not hold images and labels.
    """
    file = Path(argument)
    try:
        with zipfile.ZipFile(file) as archive, file.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
            keys = find_array_keys(_array_shapes(archive, arrays.files), options, str(file))
            classes = None if "classes" not in arrays.files else _array_class_names(arrays["classes"], file)
            mapped = ((key, _map_array(file, archive, key)) for key in keys)
            images, labels = (arrays[key] if array is None else array for key, array in mapped)
    except RfgsmError:
        raise
    except OSError as error:
        raise DataError(f"npz {file} cannot be read ({error.strerror or error}): check the path") from error
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if "pickle" in str(error):  # where NumPy found something else than arrays
            raise UnsafeError(
                f"npz {file} must hold plain arrays, got pickled objects, which can run code: save numbers and text alone"
            ) from error
        raise DataError(f"npz {file} must hold plain arrays, got one that cannot be read ({error})") from error
    return arrays_to_dataset(f"npz:{file}", images, labels, options, classes)


def _array_shapes(archive: zipfile.ZipFile, names: Sequence[str]) -> dict[str, object]:
    """Return the shape of each array by name, from its header; empty text if the header cannot be read."""
    return {name: _header(archive, name) for name in names}


def _header(archive: zipfile.ZipFile, name: str) -> object:
    try:
        with archive.open(f"{name}.npy") as stream:
            read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
            return read(stream)[0]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return ""


def _map_array(file: Path, archive: zipfile.ZipFile, key: str) -> NDArray[Any] | None:
    """Return an uncompressed array of the archive, mapped into memory; None if it is compressed or has no rows."""
    member = archive.getinfo(f"{key}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        return None
    with file.open("rb") as stream:
        stream.seek(member.header_offset)
        header = stream.read(ZIP_LOCAL_HEADER_BYTES)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        stream.seek(member.header_offset + ZIP_LOCAL_HEADER_BYTES + lengths)
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            return None
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.hasobject or 0 in shape:
            return None
        offset = stream.tell()
    mapped: NDArray[Any] = np.memmap(file, dtype, "c", offset, shape, "F" if fortran else "C")  # a write stays in memory
    return mapped


def _array_class_names(array: NDArray[Any], file: Path) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise DataError(f"classes of {file} must be names, got {array.dtype} of shape {array.shape}: save them as text")
    return [str(name) for name in array.astype(str)]
