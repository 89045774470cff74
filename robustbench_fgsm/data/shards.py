"""What lies where in a tar shard, found by its headers alone; nothing is ever extracted."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path, PurePosixPath
from typing import IO

from robustbench_fgsm.errors import DataError, UnsafeError

MOST_EXPANSION = 1000
"""Bytes out of one byte in, above which a compressed shard is taken for a bomb: deflate's own limit is 1032."""

PICKLES = (".pkl", ".pickle", ".pyd", ".pt", ".pth", ".joblib", ".dill")
BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Member:
    """A file in a shard: bytes `offset` to `offset + size` of the shard once decompressed."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes."""
        if is_compressed(self.shard):
            return self._from(_kept_open(self.shard, os.getpid()))
        with self.shard.open("rb") as stream:
            return self._from(stream)

    def _from(self, stream: IO[bytes] | gzip.GzipFile) -> bytes:
        stream.seek(self.offset)
        return stream.read(self.size)


@lru_cache(maxsize=2)
def _kept_open(shard: Path, _process: int) -> gzip.GzipFile:
    """A compressed shard, so that images in order cost one pass; each process has its own, since a place is shared."""
    return gzip.open(shard)


def is_compressed(shard: Path) -> bool:
    """Whether the shard is gzip, by its first bytes."""
    with shard.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def expand(pattern: str) -> list[Path]:
    """Files that a pattern such as `train-{000..004}.tar` or `{a,b}.tar` names, in its order.

    Raises UnsafeError for `pipe:` and DataError for other URLs and files that are not there.
    """
    scheme, colon, _ = pattern.partition(":")
    if scheme.strip().lower() == "pipe" and colon:
        raise UnsafeError(f"wds patterns must name local files, got {pattern!r}: pipe: would run a program")
    if "://" in pattern or "::" in pattern:
        raise DataError(f"wds patterns must name local files, got {pattern!r}: download the shards first")
    literal = BRACES.split(pattern)  # every second part stood in braces
    choices = [[part] if index % 2 == 0 else _alternatives(part) for index, part in enumerate(literal)]
    files = [Path("".join(parts)) for parts in product(*choices)]
    for file in files:
        if not file.is_file():
            raise DataError(f"wds shard {file} must be a file, got none: check the pattern")
    return files


def _alternatives(inside: str) -> list[str]:
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if not bounds:
        return inside.split(",")
    low, high = bounds.groups()
    width = len(low) if low.startswith("0") or len(low) == len(high) else 0
    return [f"{number:0{width}d}" for number in range(int(low), int(high) + 1)]


def members(shard: Path) -> Iterator[Member]:
    """The files in a shard, in order.

    Raises UnsafeError for a pickle, a link or device, a path that leads out, and a compressed shard of more than a
    thousand times its size; DataError for one that cannot be read.
    """
    try:
        with shard.open("rb") as raw, _decompressed(raw, shard) as stream:
            most = MOST_EXPANSION * shard.stat().st_size
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    check_member(shard, member, most)
                    if member.isreg():
                        yield Member(shard, member.name, member.offset_data, member.size)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, ValueError) as error:
        raise DataError(f"wds shard {shard} must be a whole tar archive, got one that is not ({error})") from error
    except OSError as error:
        raise DataError(f"wds shard {shard} cannot be read ({error.strerror or error}): check the path") from error


def _decompressed(raw: IO[bytes], shard: Path) -> IO[bytes] | gzip.GzipFile:
    return gzip.open(raw) if is_compressed(shard) else raw


def check_member(shard: Path, member: tarfile.TarInfo, most: int) -> None:
    """Raise UnsafeError for a member that no image archive has; most: bytes that the archive may expand to."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise UnsafeError(f"{shard}: {member.name!r} leads out of the archive: it is refused as a whole")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise UnsafeError(f"{shard}: {member.name!r} is a link, a device or sparse: the archive is refused as a whole")
    if path.suffix.lower() in PICKLES:
        raise UnsafeError(f"{shard}: {member.name!r} is a pickle, which runs code when it is read: take it out")
    if member.offset_data + member.size > most:
        raise UnsafeError(
            f"{shard}: {member.name!r} makes it expand to more than {MOST_EXPANSION} times its size: "
            "the archive is refused as a whole"
        )
