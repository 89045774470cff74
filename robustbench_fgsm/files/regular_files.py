"""Open regular files only: no pipes, devices, sockets or directories, and no links unless the caller follows them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from io import BufferedReader, BufferedWriter
from pathlib import Path

from robustbench_fgsm.errors import FileError, InputError, ResourceError, UnsafeError

SAFE_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Flags with which a pipe does not block."""

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""Flag with which a symbolic link is an error."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""Beginning of the text that Git LFS leaves in place of a large file."""

MAX_TEXT_BYTES = 2**26
"""Largest size of a text file that is read as a whole."""

MAX_EXPANSION, MAX_SMALL_EXPANSION, SMALL_BYTES = 100, 1000, 2**26
"""Bytes that one byte of an archive may unpack to, and more for an archive that unpacks to few bytes."""

FULL_ERRORS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Errors of a disk without space, or of a user whose share of the disk is used up."""

DISK_ERRORS = (*FULL_ERRORS, errno.EIO, errno.EROFS)

FILE_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def is_present(file: Path) -> bool:
    """Return True if a path exists, as a file, a directory or anything else; a link is not followed."""
    return os.path.lexists(file)


def expand_home(path: str | Path) -> Path:
    """Return a path with the home directory in place of `~`, which stays if the system knows no home directory."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (`Path.expanduser` raises then)


def is_file(path: Path) -> bool:
    """Return True if a path leads to a regular file; False for anything else, and for a path that the system rejects."""
    return os.path.isfile(path)  # noqa: PTH113  (`Path.is_file` raises for a path that is too long)


def is_directory(path: Path) -> bool:
    """Return True if a path leads to a directory; False for anything else, and for a path that the system rejects."""
    return os.path.isdir(path)  # noqa: PTH112


def is_link(path: Path) -> bool:
    """Return True if a path is a symbolic link; False for anything else, and for a path that the system rejects."""
    return os.path.islink(path)  # noqa: PTH114


def open_to_read(file: Path, *, follow_links: bool = False) -> BufferedReader:
    """Open a regular file to read its bytes.

    Args:
        file: path of the file.
        follow_links: follow symbolic links. A file that the user names may be a link; a file of a run directory may not.

    Raises:
        UnsafeError: the file is a symbolic link, and links are not followed.
        FileError: the path is a directory, a pipe, a socket or a device; or the file is a pointer of Git LFS.
        OSError: the file cannot be opened.
    """
    stream = os.fdopen(_open_regular(file, os.O_RDONLY, follow_links=follow_links), "rb")
    if stream.peek(len(LFS_POINTER)).startswith(LFS_POINTER):
        stream.close()
        raise FileError(f"{file} must have its own content, got a pointer of Git LFS: run git lfs pull, or download the file again")
    return stream


def open_to_write(file: Path, *, append: bool = False, create: bool = True) -> int:
    """Open a regular file to change it where it is, and return its descriptor; nothing is cut off. A missing file is made.

    Raises as `open_to_read` does, and UnsafeError for a hard link to another file.
    """
    flags = os.O_WRONLY | os.O_APPEND if append else os.O_RDWR
    return _open_regular(file, flags | (os.O_CREAT if create else 0), single=True)


def append(descriptor: int, content: bytes) -> None:
    """Write bytes behind the end of an open file; restore the file, and raise OSError, if this fails."""
    before = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, content)
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def append_bytes(file: Path, content: bytes) -> None:
    """Append bytes to a regular file, made if it is missing, and flush them to disk.

    Raises ResourceError, and restores the file, if this fails; else as `open_to_write` does.
    """
    with translate_os_errors(file):
        descriptor = open_to_write(file, append=True)
        try:
            append(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def create_file(file: Path) -> BufferedWriter:
    """Create a file that is not there yet, to write its bytes."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS | NO_FOLLOW, 0o666), "wb")


def read_bytes(file: Path, max_size: int | None = None, *, follow_links: bool = False) -> bytes:
    """Return the content of a regular file; raise as `open_to_read` does, and FileError above a size in bytes."""
    with open_to_read(file, follow_links=follow_links) as stream:
        size = os.fstat(stream.fileno()).st_size
        if max_size is not None and size > max_size:
            raise FileError(f"{file} must have at most {max_size:,} bytes, got {size:,}: choose another path")
        return stream.read() if max_size is None else stream.read(max_size)


def read_text(file: Path, max_size: int = MAX_TEXT_BYTES, *, follow_links: bool = False) -> str:
    """Return the text of a regular file; raise as `read_bytes` does, and FileError if the text is not UTF-8."""
    try:
        return read_bytes(file, max_size, follow_links=follow_links).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{file} must be text in UTF-8, got {error.reason} at byte {error.start:,}: save it in UTF-8") from error


def check_regular_file(file: Path) -> Path:
    """Return the path of a regular file, for a library that opens files by name; links are followed.

    Raises FileError if the path is something else; OSError if there is nothing, or the system rejects the path.
    """
    _check_kind(file, file.stat())
    return file


def require_file(file: Path, expected: str, error_type: type[InputError]) -> Path:
    """Return the path of a regular file that the user named; links are followed.

    Args:
        file: path of the file.
        expected: first words of the message, such as `model must be a file`.
        error_type: error to raise if there is no file, or the system rejects the path.

    Raises:
        FileError: the path is a directory, a pipe, a socket or a device.
    """
    try:
        return check_regular_file(file)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = ", which does not exist" if missing else f" ({getattr(error, 'strerror', None) or error})"
        raise error_type(f"{expected}, got {file}{reason}: check the path") from None


def max_unpacked_bytes(size: int, expansion: int = MAX_EXPANSION) -> int:
    """Return the number of bytes to which an archive of this size in bytes may unpack; deflate reaches 1,032 times the size."""
    return min(MAX_SMALL_EXPANSION * size, max(expansion * size, SMALL_BYTES))


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a regular file, read in blocks; links are followed."""
    with open_to_read(file, follow_links=True) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_run_files(directory: Path, patterns: Iterable[str]) -> None:
    """Raise UnsafeError or FileError if a name of these patterns in a directory is a link, or neither file nor directory."""
    patterns = tuple(patterns)
    for file in sorted(directory.iterdir()) if directory.is_dir() else ():
        if any(fnmatchcase(file.name, pattern) for pattern in patterns):
            _check_kind(file, os.lstat(file), single=True, directories=True)


def check_not_a_link(path: Path) -> Path:
    """Return the path of a file or directory; raise UnsafeError or FileError if it is a link, a pipe, a socket or a device."""
    _check_kind(path, os.lstat(path), directories=True)
    return path


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Raise a ResourceError about the path instead of an OSError."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


def disk_error(path: object, error: OSError) -> ResourceError:
    """Return the error for a path that cannot be written."""
    remedy = "free some space or choose another directory" if error.errno in FULL_ERRORS else "choose another directory"
    return ResourceError(f"{path} must be writable, got {error.strerror or error}: {remedy}")


def _open_regular(file: Path, flags: int, *, single: bool = False, follow_links: bool = False) -> int:
    if is_present(file):  # before `open`, which a device may answer with an action
        _check_kind(file, file.stat() if follow_links else os.lstat(file), single=single)
    descriptor = os.open(file, flags | SAFE_FLAGS | (0 if follow_links else NO_FOLLOW), 0o666)
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
            f"{file} must be a file of its own, got a {form} link to another file: replace it by a copy, or choose another path"
        )
    if kind != stat.S_IFREG and not (directories and kind == stat.S_IFDIR):
        raise FileError(
            f"{file} must be a regular file, got a {FILE_KINDS.get(kind, 'special file')}: "
            "put a regular file there, or choose another path"
        )
