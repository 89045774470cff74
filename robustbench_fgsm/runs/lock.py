"""One process at a time in a run directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.runs.directory import usable

LOCK = ".lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make the directory where it is new, and keep other processes out of it; the system unlocks it when a process dies.

    Raises ResourceError at once where another process is in it.
    """
    with usable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        stream = (directory / LOCK).open("w")
    with stream:
        with usable(directory):
            try:
                _lock(stream)
            except BlockingIOError as error:
                raise ResourceError(
                    f"{directory} must be used by one process at a time, got a second one: wait, or choose another"
                ) from error
        yield


if sys.platform == "win32":  # pragma: no cover

    def _lock(stream: IO[str]) -> None:
        import msvcrt

        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error

else:

    def _lock(stream: IO[str]) -> None:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
