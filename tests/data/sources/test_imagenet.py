"""ImageNet's own layout: a directory for each of the 1,000 WordNet ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.errors import DataError, SettingError


@pytest.mark.parametrize("inside", ["val", "imagenet/val"])
def test_labels_follow_wordnet_ids(tmp_path: Path, encode: Callable[..., bytes], inside: str) -> None:
    ids = [f"n{100 * label:08d}" for label in range(1000)]
    for name in reversed(ids):
        (tmp_path / inside / name).mkdir(parents=True)
    for label in (0, 999):
        (tmp_path / inside / ids[label] / "a.JPEG").write_bytes(encode(label, "JPEG"))
    data = rf.load_data("imagenet", root=tmp_path)
    assert (data.classes[0], data.classes[999]) == ("tench", "toilet tissue")
    assert next(iter(data)).labels.tolist() == [0, 999]


def test_another_number_of_classes(tmp_path: Path) -> None:
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    with pytest.raises(DataError, match="must have 1000 class directories, got 1"):
        rf.load_data("imagenet", root=tmp_path)


def test_names_missing_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"imagenet must lie in {tmp_path}/val"):
        rf.load_data("imagenet", root=tmp_path)
    with pytest.raises(SettingError, match="cannot be downloaded"):
        rf.load_data("imagenet", root=tmp_path, download=True)
    with pytest.raises(SettingError, match="one of val, train, got 'test'"):
        rf.load_data("imagenet", root=tmp_path, split="test")
