"""The lock of a run directory: one process works in it at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.runs.atomic_files import translate_os_errors

LOCK_FILE = ".lock"


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Make a directory and lock it; the system unlocks it when the process ends.

    Raises ResourceError at once if another process holds the lock, or the file system cannot lock files.
    """
    with translate_os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ResourceError(
                f"{directory} must be used by one process at a time, got a second one: wait, or choose another"
            ) from error
        except NotImplementedError as error:
            raise ResourceError(
                f"{directory} must be on a file system that can lock files, got one that cannot: choose a directory on another"
            ) from error
    try:
        yield
    finally:
        lock.release()
