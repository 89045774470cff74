"""Write files and directories of a run whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.files.directory_lock import LOCK_FILE, held_until_exit, try_lock
from robustbench_fgsm.files.regular_files import check_not_a_link, create_file, is_present, open_to_write, translate_os_errors

TEMPORARY_SUFFIX = re.compile(r"\.[0-9a-f]{8}")
"""Last part of the name of a temporary directory, and of a temporary file of version 0.1."""

EARLIER = "earlier"
"""Name of a directory that is replaced, in the temporary directory."""


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document atomically; raise ResourceError, and keep the earlier file, if that fails."""
    write_bytes(file, json_bytes(document))


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document as it is written to a file."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file atomically; raise ResourceError, and keep the earlier file, if that fails."""
    with atomic_replace(file) as scratch, create_file(scratch) as stream:
        stream.write(content)


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Give a temporary path for a file or directory, which is then flushed to disk and moved to `path`.

    A symbolic link at `path` is replaced and not followed. Raises ResourceError, and keeps the earlier file or directory, if that
    fails; FileError if `path` is a pipe, a socket or a device.
    """
    if is_present(path) and not path.is_symlink():
        check_not_a_link(path)
    with temporary_directory(path) as place, translate_os_errors(path):
        scratch = place / path.name
        yield scratch
        _flush_to_disk(scratch)
        if scratch.is_dir() and path.is_dir():  # one that is not empty cannot be replaced in one step
            path.replace(place / EARLIER)
        scratch.replace(path)
        sync_directory(path.parent)


@contextmanager
def temporary_directory(path: Path) -> Iterator[Path]:
    """Make a directory beside a path for one use, and remove it afterwards; raise ResourceError if it cannot be made.

    The directory is locked while it is used. What a killed process left for the path, and nobody locks, is removed first.
    """
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(path.parent, escape(path.name))
        place, descriptor = _make_locked_directory(path)
    with held_until_exit(descriptor):
        try:
            yield place
        finally:
            _remove(place)


def _make_locked_directory(path: Path) -> tuple[Path, int]:
    while True:
        place = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        place.mkdir(0o700)
        try:
            descriptor = open_to_write(place / LOCK_FILE)
            if try_lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
                return place, descriptor
            os.close(descriptor)
        except FileNotFoundError:  # like a lock that is held or removed: another process took the directory for abandoned
            pass
        except BaseException:
            _remove(place)
            raise


def remove_temporary_files(directory: Path, *patterns: str) -> None:
    """Remove what processes that were killed left behind in `atomic_replace`, for paths of these patterns."""
    for pattern in patterns:
        for place in directory.glob(f".{pattern}.????????"):
            if TEMPORARY_SUFFIX.fullmatch(place.suffix) and not place.is_symlink():
                with suppress(OSError, RfgsmError):
                    _remove_abandoned(place)


def _remove_abandoned(place: Path) -> None:
    """Remove a temporary file or directory unless a process holds its lock."""
    if not is_present(place / LOCK_FILE):
        with suppress(OSError):
            place.rmdir()  # a process may be about to lock it: then that process makes another one
            return
        if not is_present(place / LOCK_FILE):
            _remove(place)
        return
    with held_until_exit(descriptor := open_to_write(place / LOCK_FILE, create=False)):
        if try_lock(descriptor):
            _remove(place)


def _remove(path: Path) -> None:
    """Remove a file, or a directory with its lock last."""
    if path.is_dir() and not path.is_symlink():
        with suppress(OSError):
            for part in path.iterdir():
                if part.name != LOCK_FILE:
                    _remove(part)
        with suppress(OSError):
            (path / LOCK_FILE).unlink(missing_ok=True)
            path.rmdir()
    else:
        with suppress(OSError):
            path.unlink()


def _flush_to_disk(path: Path) -> None:
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    if path.is_dir():
        sync_directory(path)


def sync_directory(directory: Path) -> None:
    """Flush the names of a directory's files to disk."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
