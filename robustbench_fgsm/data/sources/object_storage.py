"""Files in object storage or on a web server, through fsspec: read by range, never copied to disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import IO, Any, cast

from robustbench_fgsm.errors import DataError, IncompleteError, describe_error

PACKAGE_BY_SCHEME = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
    "s3": "s3fs",
}
"""Kinds of address, and the package that reads each beside fsspec."""


@dataclass(frozen=True)
class RemoteFile:
    """File by its address, with the part of `Path` that reading an archive needs."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def size(self) -> int:
        """Return the size in bytes; raise DataError if the file does not exist, or the storage does not know the size."""
        try:
            found = open_filesystem(self.scheme, os.getpid()).info(self.url)
        except Exception as error:  # each storage's library has errors of its own
            raise DataError(f"{self.url} must be a file in reach, got {describe_error(error)}: check address and rights") from error
        if found.get("type", "file") != "file" or found.get("size") is None:
            raise DataError(f"{self.url} must be a file of known size, got {found.get('type')}: check the address")
        return int(found["size"])

    @property
    def scheme(self) -> str:
        """Return the part before `://`."""
        return self.url.partition("://")[0]

    def open(self, mode: str) -> IO[bytes]:
        """Return a stream of the file's bytes that reads ahead and can seek."""
        return cast("IO[bytes]", open_filesystem(self.scheme, os.getpid()).open(self.url, mode))

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, by one request; raise IncompleteError if the storage fails."""
        try:
            found = bytes(open_filesystem(self.scheme, os.getpid()).cat_file(self.url, start=start, end=start + size))
        except Exception as error:  # each storage's library has errors of its own
            raise self.connection_error(error) from error
        if len(found) != size:
            raise IncompleteError(
                f"{self.url} must give {size:,} bytes from {start:,} on, got {len(found):,}: "
                "its server must serve parts of files, and the file must stay the same"
            )
        return found

    def connection_error(self, error: Exception) -> IncompleteError:
        """Return the error for a storage that fails after the run began."""
        return IncompleteError(f"{self.url} must stay in reach, got {describe_error(error)}: the same command continues a run")


def check_url(url: str) -> None:
    """Raise DataError for an address of an unsupported kind, or one that needs a package that is not installed; import none."""
    scheme = url.partition("://")[0]
    if scheme not in PACKAGE_BY_SCHEME or "::" in url:
        raise DataError(f"addresses must begin with one of {', '.join(f'{name}://' for name in PACKAGE_BY_SCHEME)}, got {url!r}")
    if find_spec("fsspec") is None:
        raise DataError(f"{scheme}:// needs fsspec, which is not installed: pip install 'robustbench-fgsm[remote]'")
    if find_spec(package := PACKAGE_BY_SCHEME[scheme]) is None:
        raise DataError(f"{scheme}:// needs {package} beside fsspec, got none: pip install {package}")


@lru_cache(maxsize=8)
def open_filesystem(scheme: str, _process_id: int) -> Any:
    """Return fsspec's file system with the machine's own credentials, one per process, because connections require it.

    Raises DataError if a package cannot be imported.
    """
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise DataError(f"packages for {scheme}:// must import, got {describe_error(error)}: install them again") from error
