"""Arrays of MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import io

import robustbench_fgsm as rf
from robustbench_fgsm.data import memory
from robustbench_fgsm.errors import DataError, ResourceError, SettingError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
DIGITS = np.arange(12) % 10


def saved(tmp_path: Path, **arrays: Any) -> str:
    io.savemat(tmp_path / "data.mat", arrays, do_compression=True)
    return str(tmp_path / "data.mat")


def test_reads_svhn_as_torchvision_does(tmp_path: Path) -> None:
    """Images (32, 32, 3, N), and label 10 for the digit 0."""
    spec = saved(tmp_path, X=PIXELS.transpose(2, 3, 1, 0), y=np.where(DIGITS == 0, 10, DIGITS)[:, None].astype(np.uint8))
    for data in (rf.load_data(f"mat:{spec}"), rf.load_data(spec)):
        batch = next(iter(data))
        assert torch.equal(batch.images, torch.from_numpy(PIXELS).float() / 255)
        assert batch.labels.tolist() == DIGITS.tolist()
    warnings = rf.evaluate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10)), data).warnings
    assert any("labels 10 are class 0" in warning for warning in warnings)


def test_reads_named_arrays(tmp_path: Path) -> None:
    spec = saved(tmp_path, faces=PIXELS.astype(float) / 255, person=DIGITS + 1)
    with pytest.raises(DataError, match=r"got faces \(12, 3, 32, 32\), person \(1, 12\): pass --images-key NAME"):
        rf.load_data(spec)
    data = rf.load_data(spec, images_key="faces", labels_key="person", labels_from=1)
    assert next(iter(data)).labels.tolist() == DIGITS.tolist()
    with pytest.raises(SettingError, match=r"--images-key must name an array of .*, got 'face': did you mean faces"):
        rf.load_data(spec, images_key="face", labels_key="person")


def test_refuses_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"\x89HDF" * 20)
    (tmp_path / "noise.mat").write_bytes(b"noise" * 100)
    (tmp_path / "empty.mat").write_bytes(b"")
    for name, message in (
        ("new.mat", "version 7.3, which is HDF5: save it with `save -v7`"),
        ("noise.mat", "must be a MATLAB file"),
        ("empty.mat", "must be a MATLAB file"),
        ("none.mat", "cannot be read"),
    ):
        with pytest.raises(DataError, match=message):
            rf.load_data(f"mat:{tmp_path / name}")
    cells = saved(tmp_path, X=np.array([{}, 1], dtype=object), y=DIGITS)
    with pytest.raises(DataError, match="must hold arrays of numbers, got X, a cell"):
        rf.load_data(cells)
    large = saved(tmp_path, X=PIXELS, y=DIGITS)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(ResourceError, match=r"must fit into memory as a whole, .*: save it as npz:FILE"):
        rf.load_data(large)


def test_damaged_files_give_one_line(tmp_path: Path) -> None:
    whole = Path(saved(tmp_path, X=PIXELS, y=DIGITS)).read_bytes()
    for end in range(0, len(whole), len(whole) // 15):
        (tmp_path / "cut.mat").write_bytes(whole[:end])
        with pytest.raises(rf.RfgsmError):
            rf.load_data(f"mat:{tmp_path / 'cut.mat'}")


def test_an_unknown_class_of_an_array_is_one_line(tmp_path: Path) -> None:
    """Scipy uses a name before it has a value."""
    io.savemat(tmp_path / "data.mat", {"X": np.zeros((4, 3), np.uint8), "y": np.arange(4)})
    content = bytearray((tmp_path / "data.mat").read_bytes())
    content[144] = 255  # class of X: behind the file's header, and the tags of the array and its flags
    (tmp_path / "data.mat").write_bytes(content)
    with pytest.raises(DataError, match="must be a MATLAB file"):
        rf.load_data(f"mat:{tmp_path / 'data.mat'}")
