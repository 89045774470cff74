"""HDF5 content whose data sets stand for more than their bytes."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from robustbench_fgsm.errors import FileError
from robustbench_fgsm.files.hdf5_files import check_hdf5

h5py = pytest.importorskip("h5py")

CHUNK = (5000, 1000)


def content_of(fill: Callable[[Any], object]) -> io.BytesIO:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream


def check(stream: io.BytesIO) -> None:
    check_hdf5(stream, len(stream.getvalue()), "net.keras", 4)


def bomb(file: Any) -> None:
    """200 MB in 200 kB."""
    values = file.create_dataset("layers/a", (50_000, 1000), "f4", chunks=CHUNK, compression="gzip")
    packed = zlib.compress(bytes(4 * 5_000_000))
    for row in range(0, 50_000, CHUNK[0]):
        values.id.write_direct_chunk((row, 0), packed)


def links(file: Any) -> None:
    file["a"] = np.ones(3, "f4")
    file["soft"], file["elsewhere"], file["loop"] = h5py.SoftLink("/a"), h5py.ExternalLink("other.h5", "/a"), h5py.SoftLink("/loop")
    file["hard"] = file["/"]  # a group within itself


@pytest.mark.parametrize(
    "fill", [lambda file: None, links, lambda file: file.create_dataset("a", data=np.ones((200, 200)), compression="gzip")]
)
def test_takes_plain_content(fill: Callable[[Any], object]) -> None:
    check(content_of(fill))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (bomb, "must store its weights value by value, got data sets of 200,000,000 bytes in"),
        (lambda file: file.create_dataset("a", (10**6, 10**6), "f4", chunks=CHUNK), "data sets of 4,000,000,000,000 bytes"),
        (lambda file: file.create_dataset("a", data=np.ones(3, complex)), "must hold real weights, got complex values in a"),
    ],
)
def test_refuses_what_takes_memory(fill: Callable[[Any], object], message: str) -> None:
    with pytest.raises(FileError, match=message):
        check(content_of(fill))


@pytest.mark.parametrize("content", [b"", b"nothing", bytes(1000)])
def test_other_content(content: bytes) -> None:
    with pytest.raises(OSError, match=r"file signature not found|truncated"):
        check(io.BytesIO(content))
