"""Files written whole or not at all, whatever interrupts the writer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.files.atomic_files import atomic_replace, remove_temporary_files, temporary_directory, write_bytes, write_json
from robustbench_fgsm.files.json_files import read_json

DOCUMENT = {"n": 7, "verdict": "agree"}


def whole(directory: Path) -> dict[str, str]:
    """All files of a directory, hidden ones too."""
    return {file.name: file.read_text(encoding="utf-8") for file in directory.iterdir()}


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    write_json(tmp_path / "document.json", DOCUMENT)
    assert read_json(tmp_path / "document.json") == DOCUMENT


def test_other_users_can_read_files(tmp_path: Path) -> None:
    write_json(tmp_path / "document.json", DOCUMENT)
    assert (tmp_path / "document.json").stat().st_mode & 0o777 == 0o644


def test_rejects_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "document.json", {"value": float("nan")})
    assert whole(tmp_path) == {}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_keeps_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    write_json(tmp_path / "document.json", DOCUMENT)
    before = whole(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path if step == "replace" else os, step, fail)
    with pytest.raises(ResourceError, match=r"document\.json must be writable, got No space left on device: free some"):
        write_json(tmp_path / "document.json", {"n": 8})
    assert whole(tmp_path) == before


def test_interrupt_keeps_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "document.json", DOCUMENT)
    before = whole(tmp_path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "document.json", {"n": 8})
    assert whole(tmp_path) == before


def test_full_disk_keeps_the_earlier_file(small_disk: Path) -> None:
    write_json(small_disk / "document.json", DOCUMENT)
    before = whole(small_disk)
    with pytest.raises(ResourceError, match="must be writable, got No space left on device"):
        write_json(small_disk / "document.json", {"text": "x" * 200_000})
    assert whole(small_disk) == before


def test_replaces_a_directory_with_files(tmp_path: Path) -> None:
    place = tmp_path / "shard"
    for content in ("old", "new"):
        with atomic_replace(place) as scratch:
            scratch.mkdir()
            (scratch / content).write_text(content)
    assert [file.name for file in place.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_replaces_no_directory(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place/thesis.tex").write_text("precious")
    with pytest.raises(ResourceError, match="must be writable"):
        write_bytes(tmp_path / "place", b"new")
    assert (tmp_path / "place/thesis.tex").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("bad")])
def test_any_error_keeps_the_earlier_file(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with atomic_replace(tmp_path / "file") as scratch:
            scratch.write_bytes(b"half of the ne")
            raise error

    write_bytes(tmp_path / "file", b"old")
    with pytest.raises((ResourceError, KeyboardInterrupt, ValueError)):
        fail()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_removes_only_temporary_files(tmp_path: Path) -> None:
    for name in (".adversarial-00000.npz.abcd1234", ".git", ".adversarial-notes", "adversarial-00001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    remove_temporary_files(tmp_path, "adversarial-*")
    assert sorted(place.name for place in tmp_path.iterdir()) == [".adversarial-notes", ".git", "adversarial-00001"]


WRITER = """
import sys
from pathlib import Path
from robustbench_fgsm.files.atomic_files import atomic_replace
with atomic_replace(Path(sys.argv[1])) as scratch:
    scratch.write_bytes(b"half of the ne")
    print("writing", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_writer(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written half of a file and waits."""
    words = [sys.executable, "-c", WRITER, str(file)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


@pytest.mark.parametrize("name", ["file", "a [b] *?.html", "-x"])
def test_the_next_writer_removes_what_a_killed_process_left(tmp_path: Path, name: str) -> None:
    with other_writer(tmp_path / name) as process:
        process.kill()
    assert len(list(tmp_path.iterdir())) == 1
    write_bytes(tmp_path / name, b"new")
    assert whole(tmp_path) == {name: "new"}


def test_keeps_what_a_living_process_writes(tmp_path: Path) -> None:
    with other_writer(tmp_path / "file") as process:
        write_bytes(tmp_path / "file", b"new")
        assert len(list(tmp_path.iterdir())) == 2
        process.communicate("")
        assert process.returncode == 0
    assert whole(tmp_path) == {"file": "half of the ne"}


def test_writers_at_once_disturb_no_other(tmp_path: Path) -> None:
    """Each of them looks for abandoned directories while the others are about to lock theirs."""
    failures: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(60):
                write_bytes(tmp_path / "file", b"new")
        except Exception as error:  # noqa: BLE001  (of whatever kind)
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert whole(tmp_path) == {"file": "new"}


@pytest.mark.parametrize("lock", ["pipe", "link"])
def test_a_temporary_directory_with_another_lock_stays(tmp_path: Path, lock: str) -> None:
    left = tmp_path / ".file.abcd1234"
    left.mkdir()
    if lock == "pipe":
        os.mkfifo(left / ".lock")
    else:
        (left / ".lock").symlink_to(tmp_path / "precious")
    write_bytes(tmp_path / "file", b"new")
    assert sorted(place.name for place in tmp_path.iterdir()) == [".file.abcd1234", "file"]


def test_a_temporary_directory_is_for_one_user(tmp_path: Path) -> None:
    with temporary_directory(tmp_path / "use") as place:
        assert place.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_writes_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_fgsm.files.atomic_files.try_lock", lambda _: None)
    left = tmp_path / ".file.abcd1234"
    left.mkdir()
    (left / ".lock").touch()
    write_bytes(tmp_path / "file", b"new")
    assert sorted(place.name for place in tmp_path.iterdir()) == [".file.abcd1234", "file"]  # of whom nobody knows
