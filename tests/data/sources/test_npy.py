"""Two NumPy files: mapped, and never unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
LABELS = np.arange(6) % 3


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", LABELS)
    monkeypatch.setenv("HOME", str(tmp_path))
    return f"npy:{tmp_path}/x.npy,{tmp_path}/y.npy"


def test_reads_images_and_labels(pair: str) -> None:
    for spec in (pair, "npy:~/x.npy,~/y.npy"):
        data = rf.load_data(spec)
        assert torch.equal(next(iter(data)).images, torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).float() / 255)
        assert (data.labels.tolist(), data.name) == (LABELS.tolist(), spec)  # type: ignore[attr-defined]


def test_refuses_other_files(pair: str, tmp_path: Path) -> None:
    place = pair.partition(",")[0]
    for spec, message in (
        (place, "a file of images and a file of labels, got .*: pass npy:IMAGES.npy,LABELS.npy"),
        (place.removeprefix("npy:"), "a file of images and a file of labels"),
        (f"{place},{tmp_path}/none.npy", "cannot be read"),
        (f"{place},{tmp_path}/bad.npy", "must hold a plain array"),
    ):
        (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00")
        with pytest.raises(DataError, match=message):
            rf.load_data(spec)
    np.save(tmp_path / "objects.npy", np.array([{}] * 6, dtype=object), allow_pickle=True)
    with pytest.raises(rf.UnsafeError, match="pickled objects, which can run code"):
        rf.load_data(f"{place},{tmp_path}/objects.npy")
