"""Members of a tar shard, located by its headers alone; nothing is ever extracted."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path, PurePosixPath
from typing import IO

from robustbench_fgsm.data.decoding import UnreadableError
from robustbench_fgsm.data.sources.object_storage import RemoteFile, check_url
from robustbench_fgsm.errors import DataError, RfgsmError, UnsafeError, describe_error

MAX_EXPANSION = 1000
"""Bytes out of one byte in, above which a compressed shard is taken for a bomb: deflate's own limit is 1032."""

UNSAFE_SUFFIXES = (".pkl", ".pickle", ".pyd", ".pt", ".pth", ".joblib", ".dill")
BRACE_GROUP = re.compile(r"\{([^{}]*)\}")


END_BYTES = 2 * tarfile.BLOCKSIZE
"""Zeros that end an archive."""

MAX_PADDING = END_BYTES + tarfile.RECORDSIZE
"""Zeros after the last member at most: writers fill up one record."""

MAX_INLINE_BYTES = 32
"""Bytes of a member that are kept as it is found, such as a label."""

TarShard = Path | RemoteFile


@dataclass(frozen=True)
class TarMember:
    """File in a shard: bytes `offset` to `offset + size` of the decompressed shard; content: bytes of a small file."""

    shard: TarShard
    name: str
    offset: int
    size: int
    compressed: bool
    content: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes; raise UnreadableError or OSError if a file fails, and IncompleteError if a storage fails."""
        if self.content is not None:
            return self.content
        if self.compressed:
            return self._decompressed()
        if isinstance(self.shard, RemoteFile):
            return self.shard.read(self.offset, self.size)
        with self.shard.open("rb") as stream:
            return self._read_from(stream)

    def _decompressed(self) -> bytes:
        try:
            return self._read_from(open_compressed(self.shard, os.getpid()))
        except Exception as error:  # each storage's library has errors of its own
            open_compressed.cache_clear()  # it stands somewhere in the damage
            if isinstance(self.shard, RemoteFile):
                raise self.shard.connection_error(error) from error
            if isinstance(error, EOFError | zlib.error):
                raise UnreadableError(f"its shard cannot be decompressed ({error})") from error
            raise

    def _read_from(self, stream: IO[bytes] | gzip.GzipFile) -> bytes:
        stream.seek(self.offset)
        return stream.read(self.size)


@lru_cache(maxsize=2)
def open_compressed(shard: TarShard, _process_id: int) -> gzip.GzipFile:
    """Return an open compressed shard, so that images in order need one pass; each process has its own position in the shard."""
    return gzip.open(shard if isinstance(shard, Path) else shard.open("rb"))


def expand_pattern(pattern: str) -> list[TarShard]:
    """Return the files that a pattern such as `train-{000..004}.tar` or `s3://bucket/{a,b}.tar` names, in its order.

    Raises UnsafeError if the pattern begins with `pipe:`; DataError if a file does not exist, or an address cannot be read.
    """
    scheme, colon, _ = pattern.partition(":")
    if scheme.strip().lower() == "pipe" and colon:
        raise UnsafeError(f"wds patterns must name files, got {pattern!r}: pipe: would run a program")
    if remote := "://" in pattern:
        check_url(pattern)
    if "::" in pattern:
        raise DataError(f"wds patterns must name files, got {pattern!r}, a chain: list them as {{a,b}}.tar")
    literal = BRACE_GROUP.split(pattern)  # every second part stood in braces
    choices = [[part] if index % 2 == 0 else _expand_braces(part) for index, part in enumerate(literal)]
    names = ["".join(parts) for parts in product(*choices)]
    if remote:
        return [RemoteFile(name) for name in names]
    files = [Path(name) for name in names]
    for file in files:
        if not file.is_file():
            raise DataError(f"wds shard {file} must be a file, got none: check the pattern")
    return [*files]


def _expand_braces(inside: str) -> list[str]:
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if not bounds:
        return inside.split(",")
    low, high = bounds.groups()
    width = len(low) if low.startswith("0") or len(low) == len(high) else 0
    return [f"{number:0{width}d}" for number in range(int(low), int(high) + 1)]


def tar_members(shard: TarShard) -> Iterator[TarMember]:
    """Yield the files in a shard, in order.

    Raises UnsafeError for a pickle, a link, a device, a path that leads out, and a shard that expands to over 1,000 times its size;
    DataError for a shard that cannot be read.
    """
    try:
        most = MAX_EXPANSION * (shard.size if isinstance(shard, RemoteFile) else shard.stat().st_size)
        with shard.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if compressed else raw as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    check_member(shard, member, most)
                    if member.isreg():
                        small = archive.extractfile(member) if member.size <= MAX_INLINE_BYTES else None
                        content = None if small is None else small.read()
                        yield TarMember(shard, member.name, member.offset_data, member.size, compressed, content)
                check_end(shard, stream, archive.offset)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise DataError(f"wds shard {shard} must be a whole tar archive, got one that is not ({error})") from error
    except OSError as error:
        raise DataError(f"wds shard {shard} cannot be read ({error.strerror or error}): check the path") from error
    except Exception as error:
        if isinstance(error, RfgsmError) or not isinstance(shard, RemoteFile):
            raise
        raise DataError(f"wds shard {shard} cannot be read ({describe_error(error)}): check address and rights") from error


def check_end(shard: TarShard, stream: IO[bytes] | gzip.GzipFile, offset: int) -> None:
    """Raise DataError unless nothing but the zeros that end an archive follow the offset; the checksum of gzip is checked too.

    `tarfile` takes a damaged header for the end. What stands behind it would be missing without a word.
    """
    stream.seek(offset)
    rest = stream.read(MAX_PADDING)
    size = len(rest) + len(stream.read(1))
    if any(rest):
        found = f"bytes that are no member from byte {offset:,} on"
    elif size < END_BYTES:
        found = f"an end at byte {offset:,} without the zeros that close an archive"
    elif size != END_BYTES and (size > MAX_PADDING or (offset + size) % tarfile.RECORDSIZE):
        found = f"zeros from byte {offset:,} on, more than end an archive"
    else:
        return
    raise DataError(
        f"wds shard {shard} must be a whole tar archive, got {found}: it is damaged, cut or joined, so copy or write it again"
    )


def check_member(shard: TarShard, member: tarfile.TarInfo, max_bytes: int) -> None:
    """Raise UnsafeError for a member that no image archive has; max_bytes: size to which the archive may expand."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise UnsafeError(f"{shard}: {member.name!r} leads out of the archive: it is refused as a whole")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise UnsafeError(f"{shard}: {member.name!r} is a link, a device or sparse: the archive is refused as a whole")
    if path.suffix.lower() in UNSAFE_SUFFIXES:
        raise UnsafeError(f"{shard}: {member.name!r} is a pickle, which runs code when it is read: take it out")
    if member.offset_data + member.size > max_bytes:
        raise UnsafeError(
            f"{shard}: {member.name!r} makes it expand to more than {MAX_EXPANSION} times its size: "
            "the archive is refused as a whole"
        )
