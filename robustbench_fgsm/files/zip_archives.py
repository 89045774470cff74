"""Open zip archives whose declared sizes fit the bytes that are there."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from robustbench_fgsm.errors import FileError
from robustbench_fgsm.files.regular_files import MAX_EXPANSION, max_unpacked_bytes

MAX_DIRECTORY_BYTES = 2**24
"""Largest list of members, which is read as a whole."""

END_RECORD = b"PK\x05\x06"
END_RECORD_BYTES = 22
END_RECORD_64 = b"PK\x06\x06"
END_RECORD_64_BYTES = 56
LOCATOR_64_BYTES = 20
MAX_COMMENT_BYTES = 2**16

CHECKED_BYTES = 2**20
"""Bytes that are read at a time to compare a checksum."""

ZIP_ERRORS = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, KeyError, zlib.error)
"""Errors of `zipfile` for archives that are damaged, encrypted or of an unknown compression."""


@contextmanager
def open_zip(stream: IO[bytes], name: object, expansion: int = MAX_EXPANSION) -> Iterator[zipfile.ZipFile]:
    """Open the zip archive in a stream; nothing is unpacked.

    Args:
        stream: open regular file.
        name: name of the file in messages.
        expansion: bytes of all members for each byte of the archive, at most; see `max_unpacked_bytes`.

    Raises:
        FileError: members overlap, have one name, unpack to more than `max_unpacked_bytes`, or follow other bytes.
        zipfile.BadZipFile: the file is not a zip archive.
    """
    size = stream.seek(0, os.SEEK_END)
    if (listed := _directory_bytes(stream, size)) > MAX_DIRECTORY_BYTES:
        raise FileError(f"{name} must list its members in {MAX_DIRECTORY_BYTES:,} bytes, got {listed:,}: save it again")
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        found = ""
        if len({member.filename for member in members}) < len(members):
            found = "two members of one name"
        elif min((member.header_offset for member in members), default=0) > 0:  # as the last archive of a file that was cut
            found = "other bytes before the first member"
        elif sum(member.compress_size for member in members) > size:
            found = "members that overlap"
        elif (unpacked := sum(member.file_size for member in members)) > max_unpacked_bytes(size, expansion):
            found = f"members that unpack to {unpacked:,} bytes"
        if found:
            raise FileError(f"{name} must be a plain archive, got {found}: save it again with the library that reads it")
        yield archive


def check_checksums(archive: zipfile.ZipFile, member: zipfile.ZipInfo | None = None) -> None:
    """Raise zipfile.BadZipFile if the bytes of a member, or of any if it is None, differ from their checksum.

    NumPy's memory maps and PyTorch's readers compare no checksum. A checksum of 0 is none: PyTorch can leave it out.
    """
    for one in archive.infolist() if member is None else [member]:
        if one.CRC:
            with archive.open(one) as stream:
                while stream.read(CHECKED_BYTES):
                    pass


def _directory_bytes(stream: IO[bytes], size: int) -> int:
    """Return the size in bytes of the list of members, as each record claims it from which `zipfile` may read it."""
    start = max(0, size - END_RECORD_BYTES - MAX_COMMENT_BYTES)
    stream.seek(start)
    tail = stream.read(size - start)
    claims = [0]
    for place in (len(tail) - END_RECORD_BYTES, tail.rfind(END_RECORD)):
        if place >= 0 and tail.startswith(END_RECORD, place):
            claims.append(int.from_bytes(tail[place + 12 : place + 16], "little"))
            stream.seek(max(0, start + place - LOCATOR_64_BYTES - END_RECORD_64_BYTES))
            record = stream.read(END_RECORD_64_BYTES)
            claims.append(int.from_bytes(record[40:48], "little") if record.startswith(END_RECORD_64) else 0)
    return max(claims)
