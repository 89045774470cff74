"""One process at a time works in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.runs.directory_lock import LOCK_FILE, lock_directory


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
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("use SoftFileLock")

    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", refuse)
        with (
            pytest.raises(ResourceError, match="that can lock files, got one that cannot: choose"),
            lock_directory(tmp_path / "network"),
        ):
            pass
    with lock_directory(tmp_path / "disk"):
        assert ResourceError.exit_code == 5
