"""Tar archives whose headers are large or many."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest

from robustbench_fgsm.errors import UnsafeError
from robustbench_fgsm.files import tar_archives
from robustbench_fgsm.files.tar_archives import TarHeaders, open_gzip


def archive(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as written:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            written.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def block(kind: bytes, size: int) -> bytes:
    """A header of this kind that announces so many bytes."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def names(content: bytes) -> list[str]:
    with open_gzip(io.BytesIO(gzip.compress(content))) as stream:
        packed = [member.name for member in TarHeaders(stream, "file")]
    assert packed == [member.name for member in TarHeaders(io.BytesIO(content), "file")]
    return packed


def test_lists_members_in_order() -> None:
    long = "a" * 300
    assert names(archive(("b", b"1"), ("a", bytes(5000)), (long, b""))) == ["b", "a", long]
    headers = TarHeaders(io.BytesIO(archive(("b", b"1"))), "file")
    assert [member.size for member in headers] == [1]
    assert headers.end == 1024


LARGE: dict[str, Callable[[], bytes]] = {
    "PAX header": lambda: block(tarfile.XHDTYPE, 2**33),
    "global PAX header": lambda: block(tarfile.XGLTYPE, 2**33),
    "long name": lambda: block(tarfile.GNUTYPE_LONGNAME, 2**33),
    "behind a member": lambda: archive(("a", b"1"))[:1024] + block(tarfile.XHDTYPE, 2**33),
    "chain of long names": lambda: (block(tarfile.GNUTYPE_LONGNAME, 512) + bytes(512)) * 3000,
}


@pytest.mark.parametrize("kind", LARGE)
def test_reads_no_large_header(kind: str) -> None:
    with pytest.raises(UnsafeError, match="file has a header of more than 1,048,576 bytes"):
        names(LARGE[kind]() + bytes(1024))


def test_reads_not_any_number_of_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_archives, "MAX_MEMBERS", 3)
    assert names(archive(*((str(number), b"") for number in range(3)))) == ["0", "1", "2"]
    with pytest.raises(UnsafeError, match="has more than 3 members: cut it into several archives"):
        names(archive(*((str(number), b"") for number in range(4))))
