"""Zip archives whose lists of members lie about sizes."""

from __future__ import annotations

import io
import random
import zipfile
import zlib

import pytest

from robustbench_fgsm.errors import FileError
from robustbench_fgsm.files.zip_archives import MAX_DIRECTORY_BYTES, check_checksums, open_zip


def archive(*members: tuple[str, bytes], packed: bool = False) -> bytearray:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as written:
        for name, content in members:
            written.writestr(name, content)
    return bytearray(stream.getvalue())


def read(content: bytes | bytearray, expansion: int = 100) -> dict[str, bytes]:
    with open_zip(io.BytesIO(content), "file", expansion) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_reads_plain_archives() -> None:
    members = {"a": b"1", "b/c": bytes(1000)}
    assert read(archive(*members.items())) == read(archive(*members.items(), packed=True)) == members
    noise = random.Random(0).randbytes(2**20)
    packed = archive(*((str(number), noise + bytes(2**23)) for number in range(10)), packed=True)
    assert len(read(packed)) == 10
    with pytest.raises(FileError, match="must be a plain archive, got members that unpack to"):
        read(packed, 4)
    with pytest.raises(zipfile.BadZipFile):
        read(b"nothing")


def test_refuses_bombs() -> None:
    with pytest.raises(FileError, match="got members that unpack to 100,000,000 bytes: save it again"):
        read(archive(("a", bytes(10**8)), packed=True))
    content = archive(("a", b"1" * 100))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (2**32 - 256).to_bytes(4, "little")
    with pytest.raises(FileError, match="got members that unpack to 4,294,967,040 bytes"):
        read(content)


def test_refuses_members_that_overlap_or_share_a_name() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive(("a", b"1"), ("a", b"2"))
    with pytest.raises(FileError, match="got two members of one name"):
        read(twice)
    content = archive(*((f"member-{number:02d}", b"1" * 100) for number in range(50)))
    at = content.index(b"PK\x01\x02")
    content[at + 20 : at + 28] = (8000).to_bytes(4, "little") * 2
    with pytest.raises(FileError, match="got members that overlap"):
        read(content)


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_reads_no_endless_list_of_members(comment: bytes) -> None:
    content = archive(("a", b"1"))
    at = content.index(b"PK\x05\x06")
    content[at + 12 : at + 16] = (MAX_DIRECTORY_BYTES + 1).to_bytes(4, "little")
    content[at + 20 : at + 22] = len(comment).to_bytes(2, "little")
    with pytest.raises(FileError, match="must list its members in 16,777,216 bytes, got 16,777,217"):
        read(bytes(content) + comment)


@pytest.mark.parametrize("packed", [False, True])
def test_one_flipped_bit_is_noticed(packed: bool) -> None:
    values = random.Random(0).randbytes(2**21)
    content = archive(("a", b"1"), ("b", values), packed=packed)
    with open_zip(io.BytesIO(content), "file") as opened:
        check_checksums(opened)
    content[len(content) // 2] ^= 4
    with open_zip(io.BytesIO(content), "file") as opened:
        check_checksums(opened, opened.getinfo("a"))
        with pytest.raises((zipfile.BadZipFile, zlib.error)):
            check_checksums(opened)


def test_a_checksum_of_0_is_none() -> None:
    content = archive(("a", b"1" * 100))
    checksum = zlib.crc32(b"1" * 100).to_bytes(4, "little")
    with open_zip(io.BytesIO(content.replace(checksum, bytes(4))), "file") as opened:
        check_checksums(opened)


def test_a_file_that_was_cut_is_not_its_last_archive() -> None:
    inner = archive(("a", b"1"))
    outer = archive(("inner.zip", bytes(inner)), ("b", b"2"))
    with pytest.raises(FileError, match="got other bytes before the first member"):
        read(outer[: outer.index(inner) + len(inner)])
