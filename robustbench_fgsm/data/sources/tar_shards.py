"""Members of a tar shard, located by its headers alone; nothing is ever extracted."""

from __future__ import annotations

import gzip
import math
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

from robustbench_fgsm.data.decoding import MAX_IMAGE_BYTES, UnreadableError
from robustbench_fgsm.data.sources.object_storage import RemoteFile, check_url
from robustbench_fgsm.errors import DataError, RfgsmError, UnsafeError, describe_error
from robustbench_fgsm.files.regular_files import max_unpacked_bytes, open_to_read, require_file
from robustbench_fgsm.files.tar_archives import TarHeaders, open_gzip

UNSAFE_SUFFIXES = (".pkl", ".pickle", ".pyd", ".pt", ".pth", ".joblib", ".dill")
BRACE_GROUP = re.compile(r"\{([^{}]*)\}")
BRACE_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
MAX_SHARDS = 100_000

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
        with open_shard(self.shard) as stream:
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

    def _read_from(self, stream: IO[bytes]) -> bytes:
        if self.size > MAX_IMAGE_BYTES:
            raise UnreadableError(f"it has {self.size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
        stream.seek(self.offset)
        return stream.read(self.size)


def open_shard(shard: TarShard) -> IO[bytes]:
    """Return an open shard, which must be a regular file or an object in storage."""
    return open_to_read(shard, follow_links=True) if isinstance(shard, Path) else shard.open("rb")


@lru_cache(maxsize=2)
def open_compressed(shard: TarShard, _process_id: int) -> IO[bytes]:
    """Return an open compressed shard, so that images in order need one pass; each process has its own position in the shard."""
    return open_gzip(open_shard(shard))


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
    counts = [_count_choices(part) for part in literal[1::2]]
    if math.prod(counts) > MAX_SHARDS:
        raise DataError(f"wds patterns must name at most {MAX_SHARDS:,} files, got {pattern!r:.200}: check the numbers")
    choices = [[part] if index % 2 == 0 else _expand_braces(part) for index, part in enumerate(literal)]
    names = ["".join(parts) for parts in product(*choices)]
    if remote:
        return [RemoteFile(name) for name in names]
    files = [Path(name) for name in names]
    return [require_file(file, "wds shard must be a file", DataError) for file in files]


def _count_choices(inside: str) -> int:
    bounds = BRACE_RANGE.fullmatch(inside)
    return max(0, int(bounds[2]) - int(bounds[1]) + 1) if bounds else inside.count(",") + 1


def _expand_braces(inside: str) -> list[str]:
    bounds = BRACE_RANGE.fullmatch(inside)
    if not bounds:
        return inside.split(",")
    low, high = bounds.groups()
    width = len(low) if low.startswith("0") or len(low) == len(high) else 0
    return [f"{number:0{width}d}" for number in range(int(low), int(high) + 1)]


def tar_members(shard: TarShard) -> Iterator[TarMember]:
    """Yield the files in a shard, in order.

    Raises UnsafeError for a pickle, a link, a device, a path that leads out, and a shard that expands to far more than its size;
    DataError for a shard that cannot be read.
    """
    try:
        most = max_unpacked_bytes(shard.size if isinstance(shard, RemoteFile) else shard.stat().st_size)
        with open_shard(shard) as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with open_gzip(raw) if compressed else raw as stream:
                headers = TarHeaders(stream, f"wds shard {shard}")
                for member in headers:
                    check_member(shard, member, most)
                    if member.isreg():
                        content = None
                        if member.size <= MAX_INLINE_BYTES:
                            stream.seek(member.offset_data)
                            content = stream.read(member.size)
                        yield TarMember(shard, member.name, member.offset_data, member.size, compressed, content)
                check_end(shard, stream, headers.end)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise DataError(
            f"wds shard {shard} must be a whole tar archive, got one that is not ({error}): copy or write it again"
        ) from error
    except OSError as error:
        raise DataError(f"wds shard {shard} cannot be read ({error.strerror or error}): check the path") from error
    except Exception as error:
        if isinstance(error, RfgsmError) or not isinstance(shard, RemoteFile):
            raise
        raise DataError(f"wds shard {shard} cannot be read ({describe_error(error)}): check address and rights") from error


def check_end(shard: TarShard, stream: IO[bytes], offset: int) -> None:
    """Raise DataError unless nothing but the zeros that end an archive follow the offset; the checksum of gzip is checked too.

    `tarfile` takes a damaged header for the end. The members behind it would be missing without a warning.
    """
    stream.seek(offset)
    rest = stream.read(MAX_PADDING)
    size = len(rest) + len(stream.read(1))
    if any(rest):
        found = f"bytes that are not a member from byte {offset:,} on"
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
            f"{shard}: {member.name!r} makes it expand to more than {max_bytes:,} bytes, too many for its size: "
            "the archive is refused as a whole"
        )
