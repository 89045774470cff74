"""Files that are no files, and files that claim more than they hold: one line, an exit code, little memory, and no hang."""

from __future__ import annotations

import io
import os
import resource
import signal
import socket
import sys
import tarfile
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import format as npy

from robustbench_fgsm.cli.main import main

MAX_MEMORY = 1500 * 2**20
SECONDS = 100
"""After so many seconds a command counts as one that hangs, on a machine that other work may slow down."""

LONG = "a" * 5000


def run_limited(words: list[str], printed: Path) -> tuple[int, str, int]:
    """Run a command in a forked process; return its exit code, its standard error, and its peak memory in bytes above ours."""
    child = os.fork()
    if not child:
        code = 99
        try:
            sys.stderr = sys.stdout = printed.open("w")
            signal.alarm(SECONDS)
            resource.setrlimit(resource.RLIMIT_DATA, (_private_bytes() + MAX_MEMORY,) * 2)
            try:
                main(words)
            except SystemExit as done:
                code = int(done.code or 0)
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return os.waitstatus_to_exitcode(status), printed.read_text(), max(0, used.ru_maxrss - ours) * 1024


def _private_bytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024


def make_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(place.parent)  # the address of a socket is short
        server.bind(place.name)
        os.chdir(before)


def make_loop(place: Path) -> None:
    place.symlink_to(place.name)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda place: place.symlink_to("/dev/zero"),
    "socket": make_socket,
    "directory": Path.mkdir,
    "loop": make_loop,
    "too long": lambda place: None,
}

EVALUATE = "evaluate --model mlp300 --device cpu --limit 4"
COMMANDS = {
    "npz": f"{EVALUATE} --data npz:FILE.npz",
    "npy": f"{EVALUATE} --data npy:FILE.npy,FILE.npy",
    "csv": f"{EVALUATE} --data csv:FILE.csv",
    "mat": f"{EVALUATE} --data mat:FILE.mat",
    "safetensors": f"{EVALUATE} --data safetensors:FILE.safetensors",
    "shard": f"{EVALUATE} --data wds:FILE.tar",
    "bare path": f"{EVALUATE} --data FILE.npz",
    "class map": f"{EVALUATE} --class-map FILE.json",
    "weights": f"{EVALUATE} --weights FILE.pt",
    "safe weights": f"{EVALUATE} --weights FILE.safetensors",
    "program": f"{EVALUATE} --model FILE.pt2 --data fashion-mnist",
    "ONNX": f"{EVALUATE} --model FILE.onnx --data fashion-mnist",
    "Keras": f"{EVALUATE} --model keras:FILE.keras --data fashion-mnist",
    "skops": f"{EVALUATE} --model sklearn:FILE.skops --data fashion-mnist",
    "factory": f"{EVALUATE} --model factory:FILE.py:make --data fashion-mnist",
    "candidate": "verify FILE.py:attack",
    "saved images": "compare --model mlp300 --device cpu --limit 4 --candidate FILE.npz",
    "report": "report FILE.json --output page.html",
    "plot": "plot FILE.json --output figure.png",
    "gate": "gate FILE.json --baseline FILE.json",
}
OUTPUTS = {
    "CSV output": f"{EVALUATE} --csv FILE.csv",
    "figure": f"{EVALUATE} --plot FILE.png".replace("evaluate", "sweep"),
    "page": f"{EVALUATE} --html FILE.html",
}
LINKS = ("device", "loop")
"""Kinds that the test makes as links, which an output replaces."""


@pytest.mark.parametrize(
    ("command", "kind"), [*product(COMMANDS, NO_FILES), *product(OUTPUTS, [kind for kind in NO_FILES if kind not in LINKS])]
)
def test_takes_nothing_else_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, command: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (COMMANDS | OUTPUTS)[command].split()
    (name,) = {part for word in words for part in word.replace(",", ":").split(":") if part.startswith("FILE")}
    NO_FILES[kind](tmp_path / name)
    words = [word.replace("FILE", LONG if kind == "too long" else "FILE") for word in words]
    check_one_line(words, tmp_path)


def check_one_line(words: list[str], directory: Path) -> str:
    code, text, memory = run_limited(words, directory / "printed")
    last = text.strip().splitlines()[-1]
    assert code in (2, 4, 5), text[-2000:]
    assert last.startswith("rfgsm: "), text[-2000:]
    assert "Traceback" not in text
    assert memory < MAX_MEMORY
    return last


def array_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_2_0(stream, {"shape": shape, "fortran_order": False, "descr": "<f4"})
    return stream.getvalue()


def terabytes_in_npz(place: Path) -> None:
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("images.npy", array_header((10**6, 10**3, 10**3)))
        archive.writestr("labels.npy", array_header((10**6,)))


def bomb_in_npz(place: Path) -> None:
    np.savez_compressed(place, images=np.zeros((10**4, 100, 100), np.float32), labels=np.zeros(10**4, np.int64))


def deflated_weights(place: Path) -> None:
    torch.save({"a": torch.zeros(3 * 10**5)}, place)
    with zipfile.ZipFile(place, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/1", bytes(2 * 10**8))


def strided_weights(place: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**12), "b": torch.zeros(3 * 10**5)}, place)


def long_list_of_members(place: Path) -> None:
    with zipfile.ZipFile(place, "w") as archive:
        for number in range(300):
            archive.writestr(zipfile.ZipInfo("n" * 65_000 + str(number)), b"")


def large_tar_header(place: Path) -> None:
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 2**36
    place.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    os.truncate(place, 2**36)


def sparse(place: Path, beginning: bytes = b"") -> None:
    place.write_bytes(beginning)
    os.truncate(place, 2**36)


CLAIMS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "npz of terabytes": ("npz", terabytes_in_npz, "claims shape|images and labels"),
    "npz bomb": ("npz", bomb_in_npz, "unpack to"),
    "npz list": ("npz", long_list_of_members, "must list its members in"),
    "npy of terabytes": ("npy", lambda place: place.write_bytes(array_header((10**6, 10**3, 10**3))), "claims shape"),
    "saved images of terabytes": ("saved images", terabytes_in_npz, "claims shape"),
    "PAX header": ("shard", large_tar_header, "has a header of more than"),
    "deflated weights": ("weights", deflated_weights, "unpack to"),
    "strided weights": ("weights", strided_weights, "value by value"),
    "pickle of 64 GB": ("weights", lambda place: sparse(place, b"\x80\x02"), "must hold tensors alone"),
    "class map of 64 GB": ("class map", lambda place: sparse(place, b"["), "must have at most"),
    "deep class map": ("class map", lambda place: place.write_bytes(b"[" * 10**6), "nested at most"),
    "class map of bad text": ("class map", lambda place: place.write_bytes(b'["\xff"]'), "utf-8"),
    "CSV without lines": ("csv", lambda place: sparse(place, b"label,a"), "lines of less than"),
    "result of 64 GB": ("report", lambda place: sparse(place, b"{"), "must have at most"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_believes_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, claim: str) -> None:
    monkeypatch.chdir(tmp_path)
    command, make, message = CLAIMS[claim]
    words = COMMANDS[command].split()
    name = next(part for word in words for part in word.replace(",", ":").split(":") if part.startswith("FILE"))
    make(tmp_path / name)
    line = check_one_line(words, tmp_path)
    assert any(part in line for part in message.split("|")), line


@pytest.mark.parametrize(
    "words",
    ["--data ~/x.npz", "--data npz:~/x.npz", "--data npy:~/x.npy,~/y.npy", "--class-map ~/x.json", "--data mnist --data-root ~/x"],
)
def test_the_system_may_know_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, words: str) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert "~" in check_one_line([*EVALUATE.split(), *words.split()], tmp_path)


@pytest.mark.parametrize("pattern", ["{0..1000000000000}.tar", "{0..999}{0..999}{0..999}.tar", "{0..9" + "9" * 5000 + "}.tar"])
def test_expands_no_endless_pattern(tmp_path: Path, one_thread: None, pattern: str) -> None:
    check_one_line([*EVALUATE.split(), "--data", f"wds:{tmp_path}/{pattern}"], tmp_path)
