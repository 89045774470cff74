"""A file or a directory takes its place whole, or what was there stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.runs.directory import atomic_replace, remove_temporary_files, write_bytes


def test_a_directory_replaces_one_that_is_not_empty(tmp_path: Path) -> None:
    place = tmp_path / "shard"
    for content in ("old", "new"):
        with atomic_replace(place) as scratch:
            scratch.mkdir()
            (scratch / content).write_text(content)
    assert [file.name for file in place.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_never_replaces_a_directory(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place/thesis.tex").write_text("precious")
    with pytest.raises(ResourceError, match="must be writable"):
        write_bytes(tmp_path / "place", b"new")
    assert (tmp_path / "place/thesis.tex").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("bad")])
def test_whatever_goes_wrong_what_was_there_stays(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with atomic_replace(tmp_path / "file") as scratch:
            scratch.write_bytes(b"half of the ne")
            raise error

    write_bytes(tmp_path / "file", b"old")
    with pytest.raises((ResourceError, KeyboardInterrupt, ValueError)):
        fail()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_only_what_was_left_behind_is_swept_up(tmp_path: Path) -> None:
    for name in (".adversarial-00000.npz.abcd1234", ".git", ".adversarial-notes", "adversarial-00001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    remove_temporary_files(tmp_path, "adversarial-*")
    assert sorted(place.name for place in tmp_path.iterdir()) == [".adversarial-notes", ".git", "adversarial-00001"]
