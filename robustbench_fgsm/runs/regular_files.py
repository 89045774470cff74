"""Open the files of run directories: regular files only, and never through a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from fnmatch import fnmatchcase
from io import BufferedReader, BufferedWriter
from pathlib import Path

from robustbench_fgsm.errors import RunError, UnsafeError

SAFE_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags with which a symbolic link is an error, and a pipe does not block."""

FILE_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def is_present(file: Path) -> bool:
    """Return True if a path is there, whatever it is; a link is not followed."""
    return os.path.lexists(file)


def open_to_read(file: Path) -> BufferedReader:
    """Open a regular file to read its bytes.

    Raises:
        UnsafeError: the file is a symbolic link.
        RunError: the path is a directory, a pipe, a socket or a device.
        OSError: the file cannot be opened.
    """
    return os.fdopen(_open_regular(file, os.O_RDONLY), "rb")


def open_to_write(file: Path, *, append: bool = False) -> int:
    """Open a regular file to change it where it is, made if it is missing, and return its descriptor; nothing is cut off.

    Raises as `open_to_read` does, and UnsafeError for a hard link to another file.
    """
    flags = os.O_WRONLY | os.O_APPEND if append else os.O_RDWR
    return _open_regular(file, flags | os.O_CREAT, single=True)


def create_file(file: Path) -> BufferedWriter:
    """Create a file that is not there yet, to write its bytes."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o666), "wb")


def read_bytes(file: Path, max_size: int | None = None) -> bytes:
    """Return the content of a regular file; raise as `open_to_read` does, and RunError above a size in bytes."""
    with open_to_read(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        if max_size is not None and size > max_size:
            raise RunError(f"{file} must have at most {max_size:,} bytes, got {size:,}: choose another directory")
        return stream.read() if max_size is None else stream.read(max_size)


def check_run_files(directory: Path, patterns: Iterable[str]) -> None:
    """Raise UnsafeError or RunError if a name of these patterns in a directory is a link, or neither file nor directory."""
    patterns = tuple(patterns)
    for file in sorted(directory.iterdir()) if directory.is_dir() else ():
        if any(fnmatchcase(file.name, pattern) for pattern in patterns):
            _check_kind(file, os.lstat(file), single=True, directories=True)


def check_not_a_link(path: Path) -> Path:
    """Return the path of a file or directory; raise UnsafeError or RunError if it is a link, a pipe, a socket or a device."""
    _check_kind(path, os.lstat(path), directories=True)
    return path


def _open_regular(file: Path, flags: int, *, single: bool = False) -> int:
    if is_present(file):
        _check_kind(file, os.lstat(file), single=single)  # before `open`, which a device may answer with an action
    descriptor = os.open(file, flags | SAFE_FLAGS, 0o666)
    try:
        _check_kind(file, os.fstat(descriptor), single=single)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(file: Path, found: os.stat_result, *, single: bool = False, directories: bool = False) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFLNK or (single and kind == stat.S_IFREG and found.st_nlink > 1):
        form = "symbolic" if kind == stat.S_IFLNK else "hard"
        raise UnsafeError(
            f"{file} must be a file of its own, got a {form} link to another file: "
            "replace it by a copy, or choose another directory"
        )
    if kind != stat.S_IFREG and not (directories and kind == stat.S_IFDIR):
        raise RunError(
            f"{file} must be a regular file, got a {FILE_KINDS.get(kind, 'special file')}: remove it, or choose another directory"
        )
