"""Tensors in a file, with their class names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import robustbench_fgsm as rf
from robustbench_fgsm.errors import DataError

IMAGES = torch.randint(0, 256, (5, 3, 6, 7), dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 1, 0, 1])


def test_images_and_labels(tmp_path: Path) -> None:
    save_file({"images": IMAGES, "labels": LABELS}, tmp_path / "data.safetensors")
    data = rf.load_data(f"safetensors:{tmp_path / 'data.safetensors'}")
    (batch,) = data.batches(0, 5, 5)
    assert torch.equal(batch.images, IMAGES.float() / 255)
    assert (batch.labels.tolist(), data.classes) == (LABELS.tolist(), ("0", "1"))


def test_class_names(tmp_path: Path) -> None:
    file = tmp_path / "data.safetensors"
    save_file({"x": IMAGES, "y": LABELS}, file, {"classes": json.dumps(["cat", "dog"])})
    assert rf.load_data(f"safetensors:{file}").classes == ("cat", "dog")
    save_file({"x": IMAGES, "y": LABELS}, file, {"classes": "[1, 2]"})
    with pytest.raises(DataError, match="must be a JSON list of names"):
        rf.load_data(f"safetensors:{file}")


def test_reads_saved_adversarial_images(tmp_path: Path, classifier: rf.TorchClassifier) -> None:
    rf.save_adversarial(classifier, rf.load_data("fashion-mnist", limit=8), tmp_path / "out")
    data = rf.load_data(f"safetensors:{tmp_path / 'out' / 'adversarial-00000.safetensors'}")
    assert next(data.batches(0, 8, 8)).labels.tolist() == [9, 2, 1, 1, 6, 1, 4, 6]


def test_rejects_a_truncated_file(tmp_path: Path) -> None:
    save_file({"images": IMAGES, "labels": LABELS}, tmp_path / "data.safetensors")
    whole = (tmp_path / "data.safetensors").read_bytes()
    for end in range(0, len(whole), len(whole) // 50):
        (tmp_path / "cut").write_bytes(whole[:end])
        with pytest.raises(DataError):
            rf.load_data(f"safetensors:{tmp_path / 'cut'}")
    (tmp_path / "cut").write_bytes((10**9).to_bytes(8, "little") + whole[8:])
    with pytest.raises(DataError):
        rf.load_data(f"safetensors:{tmp_path / 'cut'}")


def test_rejects_missing_files_and_tensors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        rf.load_data(f"safetensors:{tmp_path / 'none'}")
    save_file({"weight": IMAGES}, tmp_path / "model")
    with pytest.raises(DataError, match=r"must hold images and labels .* got weight"):
        rf.load_data(f"safetensors:{tmp_path / 'model'}")
