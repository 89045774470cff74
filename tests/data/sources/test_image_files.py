"""Labelled image files, by index."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_fgsm.data.sources.image_files import FileImageSource


def test_reads_bytes_and_label(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"image")
    source = FileImageSource(tmp_path, ["a.png"], [3])
    assert source.read(0) == (b"image", 3)
    assert (len(source), source.labels(), source.path(0)) == (1, [3], str(tmp_path / "a.png"))


def test_fingerprints_a_missing_file(tmp_path: Path) -> None:
    source = FileImageSource(tmp_path, ["a.png"], [3])
    assert len(source.fingerprint) == 64
    with pytest.raises(FileNotFoundError):
        source.read(0)


def test_fingerprint_depends_on_path_size_label(tmp_path: Path) -> None:
    for name, content in (("a.png", b"one"), ("b.png", b"one"), ("c.png", b"other")):
        (tmp_path / name).write_bytes(content)
    pairs = [("a.png", 0), ("b.png", 0), ("c.png", 0), ("a.png", 1)]
    assert len({FileImageSource(tmp_path, [path], [label]).fingerprint for path, label in pairs}) == len(pairs)
