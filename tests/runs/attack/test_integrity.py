"""Missing, changed and extra files of saved adversarial images are found without crafting images."""

from __future__ import annotations

from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.runs.attack.integrity import check_files, check_manifest, read_attack_manifest


@pytest.fixture
def directory(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> Path:
    """25 images in three shards."""
    rf.save_adversarial(classifier, data, tmp_path, shard_size=10, batch_size=4)
    return tmp_path


def test_whole_images_have_no_mismatch(directory: Path) -> None:
    manifest = read_attack_manifest(directory)
    assert check_files(manifest) == (frozenset(), [])
    assert list(check_manifest(manifest, frozenset())) == []
    assert [len(span) for span in manifest.shard_ranges] == [10, 10, 5]


def test_a_missing_shard_is_named(directory: Path) -> None:
    (directory / "adversarial-00001.safetensors").unlink()
    damaged, mismatches = check_files(read_attack_manifest(directory))
    assert damaged == {1}
    assert mismatches == [("adversarial-00001.safetensors", "a file", "none")]


def test_an_extra_file_is_named(directory: Path) -> None:
    (directory / "notes.txt").touch()
    assert check_files(read_attack_manifest(directory)) == (frozenset(), [("notes.txt", "no such file", "a file")])


def test_rejects_a_directory_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(rf.RunError, match="check needs a directory that `rfgsm attack` wrote"):
        read_attack_manifest(tmp_path)
