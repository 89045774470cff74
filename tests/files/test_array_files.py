"""Arrays of run directories: read as they were written, or refused before they take memory."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from robustbench_fgsm.errors import FileError, ResourceError, UnsafeError
from robustbench_fgsm.files.array_files import read_npz, read_safetensors, write_safetensors


def test_reads_safetensors(tmp_path: Path) -> None:
    tensors = {"images": torch.rand(2, 3), "labels": torch.arange(2)}
    write_safetensors(tmp_path / "file", tensors)
    found = read_safetensors(tmp_path / "file", without="images")
    assert list(found) == ["labels"]
    assert torch.equal(read_safetensors(tmp_path / "file")["images"], tensors["images"])
    (tmp_path / "file").write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match="file: Error while deserializing"):
        read_safetensors(tmp_path / "file")
    with pytest.raises(ResourceError, match="must be writable"):
        write_safetensors(tmp_path / "missing/file", tensors)


def test_reads_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", images=np.ones((2, 3), np.float32), labels=np.arange(2))
    assert list(read_npz(tmp_path / "file.npz", without="images")) == ["labels"]
    assert read_npz(tmp_path / "file.npz")["images"].tolist() == [[1.0] * 3] * 2


def claim(file: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (10**12,), "fortran_order": False, "descr": "<f4"})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", header.getvalue())


def pickle_inside(file: Path) -> None:
    np.savez(file, images=np.array([{}], object))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "compressed": lambda file: np.savez_compressed(file, images=np.zeros(10**6)),
    "claims": claim,
    "objects": pickle_inside,
    "no archive": lambda file: file.write_bytes(b"nothing"),
    "empty": lambda file: file.write_bytes(b""),
    "no array": lambda file: zipfile.ZipFile(file, "w").writestr("images.npy", b"x" * 100),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_rejects_other_archives(tmp_path: Path, damage: str) -> None:
    DAMAGE[damage](tmp_path / "file.npz")
    with pytest.raises(ValueError, match=r".+"):
        read_npz(tmp_path / "file.npz")


@pytest.mark.parametrize("read", [read_npz, read_safetensors])
def test_opens_regular_files_only(tmp_path: Path, read: Callable[[Path], object]) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeError, match="symbolic link"):
        read(tmp_path / "link")
    with pytest.raises(FileError, match="got a pipe"):
        read(tmp_path / "pipe")
