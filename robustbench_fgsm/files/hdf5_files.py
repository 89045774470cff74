"""Check HDF5 content before a library reads it: compressed data sets may stand for far more values than their bytes hold."""

from __future__ import annotations

from typing import IO, Any

from robustbench_fgsm.errors import FileError
from robustbench_fgsm.files.regular_files import max_unpacked_bytes


def check_hdf5(stream: IO[bytes], size: int, name: str, expansion: int) -> None:
    """Read the headers of all data sets; values are not read, and links to other files are not followed.

    Args:
        stream: the content, which can be read at any place.
        size: its bytes.
        name: name of the file in messages.
        expansion: bytes of all data sets for each byte of the content, at most; see `max_unpacked_bytes`.

    Raises:
        FileError: the data sets unpack to more than `max_unpacked_bytes`, or one has complex values.
        OSError: the content is not HDF5.
    """
    import h5py

    unpacked = 0

    def add(place: str, node: Any) -> None:
        nonlocal unpacked
        if isinstance(node, h5py.Dataset):
            unpacked += node.size * node.dtype.itemsize if node.size else 0
            if node.dtype.kind == "c":
                raise FileError(f"{name} must hold real weights, got complex values in {place}: save the model again")

    with h5py.File(stream, "r") as content:
        content.visititems(add)
    if unpacked > max_unpacked_bytes(size, expansion):
        raise FileError(
            f"{name} must store its weights value by value, got data sets of {unpacked:,} bytes in {size:,}: save the model again"
        )
