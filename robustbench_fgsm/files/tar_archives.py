"""Read the headers of tar archives, whose sizes are bounded before memory is taken."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from typing import IO, Any

from robustbench_fgsm.errors import UnsafeError

MAX_HEADER_BYTES = 2**20
"""Largest header of one member, with its extended headers."""

MAX_MEMBERS = 2**20
"""Largest number of members, whose names and places stay in memory."""


class HeaderStream:
    """Stream of a tar archive from which few bytes may be read between two members."""

    def __init__(self, stream: IO[bytes], name: object) -> None:
        self._stream, self._name, self._left = stream, name, MAX_HEADER_BYTES

    def allow(self) -> None:
        """Allow to read the header of another member."""
        self._left = MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        """Return the next bytes; raise UnsafeError if the header becomes too large."""
        self._left -= size
        if self._left < 0:
            raise self.too_large()
        return self._stream.read(size)

    def too_large(self) -> UnsafeError:
        """Return the error for a header that is too large."""
        return UnsafeError(f"{self._name} has a header of more than {MAX_HEADER_BYTES:,} bytes: the archive is refused as a whole")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class TarHeaders:
    """Members of an open tar archive, in order; nothing is extracted.

    end: byte behind the last member that was read.
    """

    def __init__(self, stream: IO[bytes], name: object) -> None:
        self._stream, self._name = stream, name
        self.end = 0

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members; raise UnsafeError for too many or too large headers, and tarfile.TarError for malformed ones."""
        headers = HeaderStream(self._stream, self._name)
        archive: Any = None
        for _ in range(MAX_MEMBERS + 1):
            headers.allow()
            try:
                archive = archive or tarfile.TarFile(fileobj=headers)
                member = archive.next()
            except RecursionError:
                raise headers.too_large() from None
            archive.members.clear()  # which would keep every header
            self.end = archive.offset
            if member is None:
                return
            yield member
        raise UnsafeError(f"{self._name} has more than {MAX_MEMBERS:,} members: cut it into several archives")


def open_gzip(stream: IO[bytes]) -> IO[bytes]:
    """Return the decompressed bytes of a stream, which is closed with them."""
    found: Any = gzip.GzipFile(fileobj=stream, mode="rb")
    found.myfileobj = stream
    opened: IO[bytes] = found
    return opened
