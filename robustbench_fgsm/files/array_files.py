"""Read and write arrays: safetensors, npy and npz files. What a header declares must fit the bytes that are there."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from robustbench_fgsm.errors import FileError, ResourceError, RfgsmError, UnsafeError, describe_error
from robustbench_fgsm.files.regular_files import MAX_EXPANSION, open_to_read
from robustbench_fgsm.files.zip_archives import ZIP_ERRORS, check_checksums, open_zip

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 2**14
"""Largest header of an array, which is a line of text."""

ZIP_LOCAL_HEADER_BYTES = 30
"""Bytes of a zip member's own header, before its name and extra field."""


@contextmanager
def open_safetensors(file: Path, framework: Literal["pt", "np"] = "pt", *, follow_links: bool = False) -> Iterator[Any]:
    """Open a regular safetensors file with tensors (`np`: arrays), as `safetensors.safe_open` does; its tensors stay mapped.

    Raises:
        ValueError: the file is malformed.
        UnsafeError, FileError, OSError: as in `open_to_read`.
    """
    open_to_read(file, follow_links=follow_links).close()  # safetensors opens by name only
    try:
        with safe_open(file, framework) as stored:
            yield stored
    except SafetensorError as error:
        raise ValueError(f"{file.name}: {describe_error(error)}") from error


def read_safetensors(
    file: Path, without: str = "", framework: Literal["pt", "np"] = "pt", *, follow_links: bool = False
) -> dict[str, Any]:
    """Return the tensors (`np`: arrays) of a safetensors file, except one; raise as `open_safetensors` does."""
    with open_safetensors(file, framework, follow_links=follow_links) as stored:
        return {name: stored.get_tensor(name) for name in stored.keys() if name != without}  # noqa: SIM118


def write_safetensors(file: Path, tensors: dict[str, Tensor]) -> None:
    """Write a new safetensors file; raise ResourceError if this fails."""
    from safetensors.torch import save_file

    try:
        save_file(tensors, file)
    except SafetensorError as error:
        raise ResourceError(f"{file.name} must be writable, got {error}: free some space or choose another directory") from error


@dataclass(frozen=True)
class ArrayHeader:
    """Header of a stored array.

    Args:
        shape: length of each axis.
        dtype: type of the values.
        fortran_order: the first axis varies fastest.
        size: bytes of the header itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    size: int

    def map(self, stream: IO[bytes], offset: int) -> NDArray[Any]:
        """Return the array whose header is at this offset of a file, mapped into memory; a write to it stays in memory."""
        place = offset + self.size
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(stream, self.dtype, "c", place, self.shape, "F" if self.fortran_order else "C")


class NpzArrays:
    """Arrays of an open npz file, by name."""

    def __init__(self, stream: IO[bytes], archive: zipfile.ZipFile, name: object) -> None:
        self._stream, self._archive, self._name = stream, archive, name
        self._members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            raise FileError(f"{name} must have one member for each array, got one with and without .npy: save it again")

    @property
    def shapes(self) -> dict[str, object]:
        """Return the shape of each array by name, empty text for a member that is no array."""
        return {name: self._shape(name) for name in self._members}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def unpacked_bytes(self, name: str) -> int:
        """Return the memory that an array takes: 0 if it is mapped."""
        member = self._members[name]
        return 0 if member.compress_type == zipfile.ZIP_STORED else member.file_size

    def header(self, name: str) -> ArrayHeader:
        """Return the header of an array; raise as `read_array_header` does."""
        member = self._members[name]
        with self._archive.open(member) as stream:
            return read_array_header(stream, member.file_size, f"{self._name} ({name})")

    def read(self, name: str) -> NDArray[Any]:
        """Return an array: mapped into memory, or unpacked if it is compressed. Raises as `open_npz` does."""
        header, member = self.header(name), self._members[name]
        check_checksums(self._archive, member)
        if member.compress_type == zipfile.ZIP_STORED:
            return header.map(self._stream, self._offset(member))
        with self._archive.open(member) as stream:
            array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        return array

    def _offset(self, member: zipfile.ZipInfo) -> int:
        self._stream.seek(member.header_offset)
        header = self._stream.read(ZIP_LOCAL_HEADER_BYTES)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        offset = member.header_offset + ZIP_LOCAL_HEADER_BYTES + lengths
        if offset + member.file_size > self._stream.seek(0, os.SEEK_END):
            raise ValueError(f"{member.filename} ends behind the end of the file")
        return offset

    def _shape(self, name: str) -> object:
        try:
            return self.header(name).shape
        except (UnsafeError, *ZIP_ERRORS):
            return ""


@contextmanager
def open_npz(file: Path, *, follow_links: bool = False, expansion: int = MAX_EXPANSION) -> Iterator[NpzArrays]:
    """Open an npz file.

    Args:
        file: path of the file.
        follow_links: as in `open_to_read`.
        expansion: as in `open_zip`.

    Raises:
        ValueError: the file is malformed, or an array claims more bytes than its member has.
        UnsafeError: an array holds pickled objects; or as in `open_to_read`.
        FileError: the archive is not plain (see `open_zip`); or as in `open_to_read`.
        OSError: the file cannot be opened.
    """
    with open_to_read(file, follow_links=follow_links) as stream:
        try:
            with open_zip(stream, file, expansion) as archive:
                yield NpzArrays(stream, archive, file)
        except RfgsmError:
            raise
        except ZIP_ERRORS as error:
            raise ValueError(f"{file.name}: {describe_error(error)}") from error


def read_npz(file: Path, without: str = "") -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file, except the one that is left out; raise as `open_npz` does."""
    with open_npz(file) as arrays:
        return {name: arrays.read(name) for name in arrays.shapes if name != without}


def map_npy(file: Path) -> NDArray[Any]:
    """Return the array of an npy file, mapped into memory; links are followed.

    Raises FileError for an npz file, else as `open_npz` does.
    """
    with open_to_read(file, follow_links=True) as stream:
        if stream.read(4) == b"PK\x03\x04":
            raise FileError(f"{file} must hold one array, got an archive of several: pass npz:{file}")
        header = read_array_header(stream, stream.seek(0, os.SEEK_END), file)
        return header.map(stream, 0)


def read_array_header(stream: IO[bytes], size: int, name: object) -> ArrayHeader:
    """Return the header at the beginning of a stored array.

    Args:
        stream: stream of the array; it is read from its beginning.
        size: bytes of header and values together.
        name: name of the array in messages.

    Raises:
        ValueError: the header is malformed, or declares more values than there are bytes.
        UnsafeError: the values are pickled objects.
    """
    stream.seek(0)
    start = stream.read(8)
    version = npy.read_magic(io.BytesIO(start))
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has a header of version {version[0]}.{version[1]}, which is for records")
    length = stream.read(2 if version == (1, 0) else 4)
    text_bytes = int.from_bytes(length, "little")
    if text_bytes > MAX_HEADER_BYTES:
        raise ValueError(f"{name} has a header of {text_bytes:,} bytes")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, fortran_order, dtype = read(io.BytesIO(length + stream.read(text_bytes)))
    except Exception as error:  # of the parsers of Python, of which NumPy's versions use several
        raise ValueError(f"{name} has a header that cannot be read ({describe_error(error)})") from error
    if dtype.hasobject:
        raise UnsafeError(f"{name} must hold plain arrays, got pickled objects, which can run code: save numbers and text alone")
    header = ArrayHeader(shape, dtype, fortran_order, len(start) + len(length) + text_bytes)
    if min(shape, default=0) < 0 or header.size + math.prod(shape) * max(1, dtype.itemsize) > size:
        raise ValueError(f"{name} claims shape {shape} of {dtype}, more than its {size:,} bytes hold")
    return header
