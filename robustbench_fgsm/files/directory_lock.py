"""The lock of a directory: one process works in it at a time."""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.files.regular_files import is_present, open_to_read, open_to_write, translate_os_errors

LOCK_FILE = ".lock"
WAIT_INTERVAL = 0.05
"""Seconds between two attempts to lock a directory."""

HELD_ERRORS = (errno.EAGAIN, errno.EACCES)
"""Errors of a lock that another process holds."""

UNSUPPORTED_ERRORS = (errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""Errors of a file system that cannot lock files."""


_held: set[int] = set()
"""Descriptors of lock files in this process."""


def _close_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):  # else a worker process that outlives its parent would hold the lock
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def lock_directory(directory: Path, wait: float = 0.0) -> Iterator[None]:
    """Make a directory and lock it; the system unlocks it when the process ends.

    Args:
        directory: the run directory.
        wait: seconds to wait for a process that holds the lock.

    Raises:
        ResourceError: another process holds the lock, or the file system cannot lock files.
        UnsafeError: the lock file is a link.
        FileError: the lock file is not a regular file.
    """
    with translate_os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = open_to_write(directory / LOCK_FILE)
    with held_until_exit(descriptor):
        deadline = time.monotonic() + wait
        while (is_mine := try_lock(descriptor)) is False and time.monotonic() < deadline:
            time.sleep(WAIT_INTERVAL)
        if is_mine is None:
            raise ResourceError(
                f"{directory} must be on a file system that can lock files, got one that cannot: choose a directory on another"
            )
        if not is_mine:
            raise ResourceError(f"{directory} must be used by one process at a time, got a second one: wait, or choose another")
        yield


def is_locked(directory: Path) -> bool:
    """Return True if a process works in a directory; the question takes no lock."""
    if not is_present(directory / LOCK_FILE):
        return False
    with translate_os_errors(directory), open_to_read(directory / LOCK_FILE) as stream:
        try:
            return _is_held(stream.fileno())
        except OSError as error:
            if error.errno in UNSUPPORTED_ERRORS:
                return False
            raise


@contextmanager
def held_until_exit(descriptor: int) -> Iterator[None]:
    """Close the descriptor of a lock file at the end, and in each child process at once."""
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:  # not in a child
            _held.discard(descriptor)
            os.close(descriptor)


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file. Return False if another process holds the lock, None if the file system cannot lock files."""
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in UNSUPPORTED_ERRORS:
            return None
        if error.errno in HELD_ERRORS:
            return False
        raise
    return True


if sys.platform == "linux":  # locks of open files: two of one process exclude each other, and a lock can be queried
    import fcntl

    LOCK_FORMAT = "hhqqi4x"
    """`struct flock`: kind, origin, start, length and process."""

    def _lock(descriptor: int) -> None:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(LOCK_FORMAT, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))

    def _is_held(descriptor: int) -> bool:
        asked = struct.pack(LOCK_FORMAT, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind: int = struct.unpack(LOCK_FORMAT, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
        return kind != fcntl.F_UNLCK

elif sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _is_held(descriptor: int) -> bool:
        return try_lock(descriptor) is False

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _is_held(descriptor: int) -> bool:
        return try_lock(descriptor) is False
