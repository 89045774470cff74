"""Write files and directories of a run whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ResourceError
from robustbench_fgsm.files.regular_files import check_not_a_link, create_file, is_present

TEMPORARY_SUFFIX = re.compile(r"\.[0-9a-f]{8}")
EARLIER_SUFFIX = re.compile(r"\.[0-9a-z_]{8}")
"""Last part of the name of a temporary file, and of a temporary directory of version 0.1."""


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
    scratch, before = (path.with_name(f".{path.name}.{secrets.token_hex(4)}") for _ in range(2))
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield scratch
            _flush_to_disk(scratch)
            if scratch.is_dir() and path.is_dir():  # one that is not empty cannot be replaced in one step
                path.replace(before)
            scratch.replace(path)
            sync_directory(path.parent)
        finally:
            _remove(scratch)
            _remove(before)


def remove_temporary_files(directory: Path, *patterns: str) -> None:
    """Remove what `atomic_replace` left behind in a process that was killed, for paths of these patterns."""
    for scratch in find_temporary_files(directory, *patterns):
        _remove(scratch)


def find_temporary_files(directory: Path, *patterns: str) -> list[Path]:
    """Return the temporary files and directories of `atomic_replace` for paths of these patterns."""
    found = [scratch for pattern in patterns for scratch in directory.glob(f".{pattern}.????????")]
    return [
        scratch
        for scratch in found
        if (EARLIER_SUFFIX if scratch.is_dir() else TEMPORARY_SUFFIX).fullmatch(scratch.suffix) and not scratch.is_symlink()
    ]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Raise a ResourceError about the path instead of an OSError."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path} must be writable, got {error.strerror or error}: free some space or choose another directory"
        ) from error


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
