"""Only regular files are opened, and links only where the caller follows them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_fgsm.errors import DataError, FileError, UnsafeError
from robustbench_fgsm.files.regular_files import (
    append_bytes,
    check_not_a_link,
    check_regular_file,
    check_run_files,
    create_file,
    expand_home,
    hash_file,
    is_directory,
    is_file,
    is_present,
    max_unpacked_bytes,
    open_to_read,
    open_to_write,
    read_bytes,
    read_text,
    require_file,
)


def make_socket(place: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    os.chdir(place.parent)  # the address of a socket is short
    server.bind(place.name)
    server.close()


SPECIAL: dict[str, Callable[[Path], object]] = {"pipe": os.mkfifo, "directory": Path.mkdir, "socket": make_socket}
OPENERS: dict[str, Callable[[Path], object]] = {
    "read": open_to_read,
    "append": lambda file: open_to_write(file, append=True),
    "change": open_to_write,
    "bytes": read_bytes,
}


@pytest.mark.parametrize("how", OPENERS)
@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.timeout(10)
def test_rejects_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, how: str) -> None:
    monkeypatch.chdir(tmp_path)
    SPECIAL[kind](tmp_path / "file")
    with pytest.raises(FileError, match=f"file must be a regular file, got a {kind}: put a regular file there"):
        OPENERS[how](tmp_path / "file")
    assert is_present(tmp_path / "file")


@pytest.mark.parametrize("how", OPENERS)
def test_rejects_devices(how: str) -> None:
    with pytest.raises(FileError, match="/dev/zero must be a regular file, got a device"):
        OPENERS[how](Path("/dev/zero"))


@pytest.mark.parametrize("how", OPENERS)
@pytest.mark.parametrize("target", ["other", "missing"])
def test_follows_no_symbolic_link(tmp_path: Path, target: str, how: str) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "file").symlink_to(tmp_path / target)
    with pytest.raises(UnsafeError, match="file must be a file of its own, got a symbolic link"):
        OPENERS[how](tmp_path / "file")
    assert (tmp_path / "other").read_text() == "precious"
    assert not (tmp_path / "missing").exists()


FOLLOWING: dict[str, Callable[[Path], object]] = {
    "read": lambda file: open_to_read(file, follow_links=True).close(),
    "bytes": lambda file: read_bytes(file, follow_links=True),
    "text": lambda file: read_text(file, follow_links=True),
    "check": check_regular_file,
    "hash": hash_file,
}


@pytest.mark.parametrize("how", FOLLOWING)
@pytest.mark.timeout(10)
def test_follows_links_that_the_caller_allows(tmp_path: Path, how: str) -> None:
    (tmp_path / "other").write_text("content")
    os.mkfifo(tmp_path / "pipe")
    for name, target in {"link": "other", "to-pipe": "pipe", "to-device": "/dev/zero", "loop": "loop", "broken": "none"}.items():
        (tmp_path / name).symlink_to(target)
    FOLLOWING[how](tmp_path / "link")
    for name, found in {"to-pipe": "pipe", "to-device": "device"}.items():
        with pytest.raises(FileError, match=f"{name} must be a regular file, got a {found}"):
            FOLLOWING[how](tmp_path / name)
    for name in ("loop", "broken", "x" * 5000):
        with pytest.raises(OSError, match=r"symbolic links|No such file|name too long"):
            FOLLOWING[how](tmp_path / name)


def test_the_system_may_know_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home("~/x") == Path("/home/me/x")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert expand_home("~/x") == Path("~/x")


def test_answers_about_any_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [is_file(tmp_path / "file"), is_directory(tmp_path), is_present(tmp_path / "file")] == [True] * 3
    for path in (tmp_path / "none", Path("x" * 5000), Path("a\0b")):
        assert not any(asked(path) for asked in (is_file, is_directory, is_present))


def test_names_a_file_that_the_user_must_correct(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert require_file(tmp_path / "file", "data must be a file", DataError) == tmp_path / "file"
    for path, found in {tmp_path / "none": ", which does not exist", tmp_path / ("x" * 5000): r" \(File name too long\)"}.items():
        with pytest.raises(DataError, match=f"data must be a file, got {str(path)[:150]}.*{found}: check the path"):
            require_file(path, "data must be a file", DataError)


@pytest.mark.parametrize("how", [how for how in FOLLOWING if how != "check"])
def test_a_pointer_of_git_lfs_is_no_content(tmp_path: Path, how: str) -> None:
    (tmp_path / "file").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(FileError, match="must have its own content, got a pointer of Git LFS: run git lfs pull"):
        FOLLOWING[how](tmp_path / "file")


def test_appends_to_a_file(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        append_bytes(tmp_path / "file", line)
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\n"


def test_archives_may_unpack_to_a_multiple_of_their_size() -> None:
    assert [max_unpacked_bytes(size) for size in (10**3, 10**6, 10**9)] == [10**6, 10**8, 10**11]
    assert max_unpacked_bytes(10**9, 4) == 4 * 10**9


def test_reads_text_in_utf8(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa\xc3\xa4")
    assert read_text(tmp_path / "file") == "aä"
    (tmp_path / "file").write_bytes(b"ab\xff")
    with pytest.raises(FileError, match="file must be text in UTF-8, got invalid start byte at byte 2: save it in UTF-8"):
        read_text(tmp_path / "file")
    with pytest.raises(FileError, match="file must have at most 2 bytes, got 3"):
        read_text(tmp_path / "file", 2)


@pytest.mark.parametrize("how", ["append", "change"])
def test_changes_no_hard_link(tmp_path: Path, how: str) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "file").hardlink_to(tmp_path / "other")
    with pytest.raises(UnsafeError, match="file must be a file of its own, got a hard link to another file: replace it by a copy"):
        OPENERS[how](tmp_path / "file")
    assert (tmp_path / "other").read_text() == "precious"
    (tmp_path / "file").unlink()
    shutil.copy(tmp_path / "other", tmp_path / "file")  # the remedy
    os.close(open_to_write(tmp_path / "file"))


def test_creates_a_new_file_only(tmp_path: Path) -> None:
    with create_file(tmp_path / "file") as stream:
        stream.write(b"content")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "file")
    assert read_bytes(tmp_path / "file", 7) == b"content"
    with pytest.raises(FileError, match="file must have at most 6 bytes, got 7"):
        read_bytes(tmp_path / "file", 6)


def test_checks_names_of_a_run_only(tmp_path: Path) -> None:
    (tmp_path / "notes").symlink_to("/etc/hostname")
    check_run_files(tmp_path, ["ledger-*.bin"])
    check_run_files(tmp_path / "missing", ["ledger-*.bin"])
    (tmp_path / "ledger-00000.bin").symlink_to("/etc/hostname")
    with pytest.raises(UnsafeError, match="symbolic link"):
        check_run_files(tmp_path, ["ledger-*.bin"])
    with pytest.raises(UnsafeError, match="symbolic link"):
        check_not_a_link(tmp_path / "notes")
