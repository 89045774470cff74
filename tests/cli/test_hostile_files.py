"""Files that are no files, and files that claim more than they hold: one line, an exit code, little memory, and no hang."""

from __future__ import annotations

import io
import os
import re
import resource
import signal
import socket
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import format as npy

from robustbench_fgsm.cli.main import main
from tests.cli.test_options import PROGRAMS

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
    "dangling link": lambda place: place.symlink_to("nowhere"),
    "empty": Path.touch,
    "too long": lambda place: None,
    "odd": lambda place: None,
}
NAMES = {"too long": LONG, "odd": "a\nb\x1b[31m\udc80"}
"""Names of paths where nothing is; the second one has a new line, an escape and a byte that is not UTF-8."""

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
    "plan": "gate --plan FILE",
    "lock": "lock FILE --output robustness.lock",
    "bounds": f"{EVALUATE} --bounds FILE.csv",
    "bounds in npz": f"{EVALUATE} --bounds FILE.npz",
    "scale": f"{EVALUATE} --eps-scale FILE.csv",
    "checked images": "attack --check FILE",
    "source": "transfer --source FILE.onnx --data fashion-mnist --limit 4",
    "target": "transfer --source mlp300 --target FILE.onnx --limit 4",
    "adapters": "verify --package foolbox==3.3.4:pgd --adapters FILE",
    "shown": "runs show FILE",
    "resumed": "runs resume FILE",
    "listed": "runs list FILE",
    "root": f"{EVALUATE} --data cifar10 --data-root FILE",
    "folder": f"{EVALUATE} --data folder:FILE",
    "hub": f"{EVALUATE} --model hf:./FILE --data fashion-mnist",
    "hub data": f"{EVALUATE} --data hf-data:./FILE",
}
ANY_DIRECTORY = ("listed",)
"""Commands for which a directory without anything in it is no error."""

OUTPUTS = {
    "CSV output": f"{EVALUATE} --csv FILE.csv",
    "figure": f"{EVALUATE} --plot FILE.png".replace("evaluate", "sweep"),
    "page": f"{EVALUATE} --html FILE.html",
    "verdict": f"{EVALUATE} --junit FILE.xml",
    "run": f"{EVALUATE} --out FILE",
    "log": f"{EVALUATE} --log-dir FILE",
    "lock output": "lock RUN --output FILE",
    "badge": "gate RUN --baseline RUN --badge FILE",
    "export": "runs show RUN --export FILE.csv",
}
DIRECTORIES = ("run", "log")
"""Outputs that are directories."""

NO_PATHS = {"--trust-model-code": "a switch", "--follow-links": "a switch", "--image-size": "a number"}
"""Options whose help speaks of files."""

NO_OUTPUTS = ("pipe", "socket", "directory", "too long")
"""Kinds that no output replaces."""


def test_every_option_that_names_a_path_is_in_the_table() -> None:
    lines = [line.split() for line in (COMMANDS | OUTPUTS).values()]
    words = {word for line in lines for word in line}
    for name, command in PROGRAMS.items():
        for part in command.params:
            flags, metavar = {*part.opts} if part.param_type_name == "option" else {name.split()[-1]}, str(part.metavar)
            if re.search("FILE|DIR|PATH|RUN|SPEC|MODEL|DATA|CANDIDATE", metavar) or re.search(r"\bfile|director|folder", part.help):
                assert flags & (words | NO_PATHS.keys()), (name, part.name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a finished evaluation."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.raises(SystemExit):
        main([*EVALUATE.split(), "--out", str(out)])
    return out


@pytest.mark.parametrize("command", [*COMMANDS, *OUTPUTS])
def test_takes_nothing_else_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path, one_thread: None, command: str
) -> None:
    line = (COMMANDS | OUTPUTS)[command].replace("RUN", str(finished))
    (name,) = {part for word in line.split() for part in re.split("[:,/]", word) if part.startswith("FILE")}
    for kind in NO_FILES if command in COMMANDS else NO_OUTPUTS:
        if kind == "directory" and command in (*ANY_DIRECTORY, *DIRECTORIES):
            continue
        place = tmp_path / kind
        place.mkdir()
        monkeypatch.chdir(place)
        NO_FILES[kind](place / name)
        check_one_line([word.replace("FILE", NAMES.get(kind, "FILE")) for word in line.split()], place)


@pytest.mark.parametrize("command", [command for command in OUTPUTS if command not in (*DIRECTORIES, "lock output")])
def test_an_output_replaces_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path, one_thread: None, command: str
) -> None:
    """All but a lock, which replaces nothing but a lock."""
    line = OUTPUTS[command].replace("RUN", str(finished))
    (name,) = [word for word in line.split() if word.startswith("FILE")]
    monkeypatch.chdir(tmp_path)
    Path("outside").write_text("kept")
    for target in ("outside", "nowhere", "/dev/zero", name):
        Path(name).symlink_to(target)
        code, text, _ = run_limited(line.split(), tmp_path / "printed")
        assert code == 0, text
        assert not Path(name).is_symlink()
        assert Path("outside").read_text() == "kept"
        Path(name).unlink()


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
    "code of 64 GB": ("factory", lambda place: sparse(place, b"#"), "must have at most"),
    "candidate of 64 GB": ("candidate", lambda place: sparse(place, b"#"), "must have at most"),
    "bounds of 64 GB": ("bounds", lambda place: sparse(place, b"low,high\n"), "must have at most"),
    "bounds of terabytes": ("bounds in npz", terabytes_in_npz, "low and high"),
    "scale of 64 GB": ("scale", lambda place: sparse(place, b"scale\n"), "must have at most"),
    "ONNX of 64 GB": ("ONNX", sparse, "must have at most"),
    "safetensors of 64 GB": ("safetensors", sparse, "must be whole"),
    "shard of zeros": ("shard", sparse, "must be a whole tar archive"),
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
