"""Images that a run keeps are read as arrays."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import robustbench_fgsm as rf
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE, ExampleImages, read_example_images


def test_reads_what_was_kept(tmp_path: Path) -> None:
    file = tmp_path / EXAMPLE_IMAGES_FILE
    assert read_example_images(file) is None
    save_file({field.name: np.arange(3.0) for field in fields(ExampleImages)}, file)
    kept = read_example_images(file)
    assert kept is not None
    assert len(kept) == 3
    assert kept.select(np.array([2, 0])).clean.tolist() == [2.0, 0.0]


def test_rejects_a_file_without_a_column(tmp_path: Path) -> None:
    file = tmp_path / EXAMPLE_IMAGES_FILE
    save_file({"clean": np.arange(3.0)}, file)
    with pytest.raises(rf.RunError, match="must hold images as rfgsm kept them"):
        read_example_images(file)
