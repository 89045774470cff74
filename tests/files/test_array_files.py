"""Arrays of run directories: read as they were written, or refused before they take memory."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib import format as npy

from robustbench_fgsm.errors import FileError, ResourceError, RfgsmError, UnsafeError
from robustbench_fgsm.files.array_files import map_npy, read_npz, read_safetensors, write_safetensors


def test_reads_safetensors(tmp_path: Path) -> None:
    tensors = {"images": torch.rand(2, 3), "labels": torch.arange(2)}
    write_safetensors(tmp_path / "file", tensors)
    found = read_safetensors(tmp_path / "file", without="images")
    assert list(found) == ["labels"]
    assert torch.equal(read_safetensors(tmp_path / "file")["images"], tensors["images"])
    (tmp_path / "file").write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match=r"file: .*Error while deserializing"):
        read_safetensors(tmp_path / "file")
    with pytest.raises(ResourceError, match="must be writable"):
        write_safetensors(tmp_path / "missing/file", tensors)


def test_reads_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", images=np.ones((2, 3), np.float32), labels=np.arange(2))
    assert list(read_npz(tmp_path / "file.npz", without="images")) == ["labels"]
    assert read_npz(tmp_path / "file.npz")["images"].tolist() == [[1.0] * 3] * 2


def header(shape: tuple[int, ...], version: int = 1, dtype: str = "<f4") -> bytes:
    """The header of an array, without values."""
    stream = io.BytesIO()
    write = npy.write_array_header_1_0 if version == 1 else npy.write_array_header_2_0
    write(stream, {"shape": shape, "fortran_order": False, "descr": dtype})
    return stream.getvalue()


TERABYTES = {
    "shape": header((10**12,)),
    "version 2": header((10**6, 10**6), 2),
    "no bytes a value": header((10**12,), dtype="|S0"),
    "negative": header((-1, 4)) + bytes(64),
    "long header": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 2**15,
    "records": b"\x93NUMPY\x03\x00\x10\x00\x00\x00" + b" " * 16,
    "cut": header((4,)) + b"123",
    "no array": b"x" * 100,
    "empty": b"",
}


@pytest.mark.parametrize("claimed", TERABYTES)
@pytest.mark.parametrize("kind", ["npz", "compressed", "npy"])
def test_believes_no_header(tmp_path: Path, claimed: str, kind: str) -> None:
    if kind == "npy":
        (tmp_path / "file.npy").write_bytes(TERABYTES[claimed])
    else:
        with zipfile.ZipFile(tmp_path / "file.npz", "w", zipfile.ZIP_STORED if kind == "npz" else zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", TERABYTES[claimed])
    with pytest.raises((ValueError, EOFError)):
        map_npy(tmp_path / "file.npy") if kind == "npy" else read_npz(tmp_path / "file.npz")


def test_maps_and_unpacks_alike(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "x": np.arange(24.0).reshape(2, 3, 4),
        "f": np.asfortranarray(np.eye(3)),
        "none": np.empty((0, 3)),
        "one": np.array(7),
    }
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    for name in ("plain", "packed"):
        found = read_npz(tmp_path / f"{name}.npz")
        assert all(np.array_equal(found[key], value) for key, value in arrays.items())
        found["x"][:] = 0  # a write stays in memory
    assert np.array_equal(read_npz(tmp_path / "plain.npz")["x"], arrays["x"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_noticed(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "file.npz", images=np.random.default_rng(0).random(10_000), labels=np.arange(3))
    content = bytearray((tmp_path / "file.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"Bad CRC-32|zlib|Error -3"):
        read_npz(tmp_path / "file.npz")
    assert read_npz(tmp_path / "file.npz", without="images")["labels"].tolist() == [0, 1, 2]


def test_one_array_has_one_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        for name in ("labels.npy", "labels"):
            archive.writestr(name, header((0,)))
    with pytest.raises(FileError, match=r"one member for each array, got one with and without \.npy"):
        read_npz(tmp_path / "file.npz")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no archive": lambda file: file.write_bytes(b"nothing"),
    "empty": lambda file: file.write_bytes(b""),
    "objects": lambda file: np.savez(file, images=np.array([{}], object)),
    "bomb": lambda file: np.savez_compressed(file, images=np.zeros(10**7)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_rejects_other_archives(tmp_path: Path, damage: str) -> None:
    DAMAGE[damage](tmp_path / "file.npz")
    with pytest.raises((ValueError, RfgsmError), match=r"not a zip file|got pickled objects|unpack to 80,000"):
        read_npz(tmp_path / "file.npz")


@pytest.mark.parametrize("read", [read_npz, read_safetensors])
def test_opens_regular_files_only(tmp_path: Path, read: Callable[[Path], object]) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeError, match="symbolic link"):
        read(tmp_path / "link")
    with pytest.raises(FileError, match="got a pipe"):
        read(tmp_path / "pipe")
