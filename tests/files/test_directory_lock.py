"""One process at a time works in a directory."""

from __future__ import annotations

import errno
import fcntl
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.files.directory_lock import LOCK_FILE, WAIT_INTERVAL, is_locked, lock_directory


def test_makes_and_locks_a_directory(tmp_path: Path) -> None:
    with lock_directory(tmp_path / "deep/er"):
        assert (tmp_path / "deep/er" / LOCK_FILE).is_file()
        with pytest.raises(ResourceError, match="one process at a time, got a second one"), lock_directory(tmp_path / "deep/er"):
            pass


@pytest.mark.parametrize("error", [None, ValueError("stopped")])
def test_unlocks_also_after_an_error(tmp_path: Path, error: Exception | None) -> None:
    def work() -> None:
        with lock_directory(tmp_path):
            if error is not None:
                raise error

    for _ in range(2):
        if error is None:
            work()
        else:
            with pytest.raises(ValueError, match="stopped"):
                work()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", refuse)
        with (
            pytest.raises(ResourceError, match="that can lock files, got one that cannot: choose"),
            lock_directory(tmp_path / "network"),
        ):
            pass
    with lock_directory(tmp_path / "disk"):
        assert ResourceError.exit_code == 5


def test_a_question_takes_no_lock(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with lock_directory(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    asked, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            asked.append(is_locked(tmp_path))

    other = threading.Thread(target=ask)
    other.start()
    try:
        for _ in range(300):
            with lock_directory(tmp_path):  # a question that took the lock would make one of these fail
                pass
    finally:
        stop.set()
        other.join()
    assert asked


def test_waits_for_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    with ExitStack() as held:
        held.enter_context(lock_directory(tmp_path))

        def release_at_the_third(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                held.close()

        monkeypatch.setattr(time, "sleep", release_at_the_third)
        with lock_directory(tmp_path, wait=600):
            assert pauses == [WAIT_INTERVAL] * 3


def test_does_not_cut_off_the_lock_file(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("content")
    with lock_directory(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == "content"
