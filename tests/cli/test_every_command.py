"""Each command where places cannot be written, without a home, and with streams that are full, closed or without a reader."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from robustbench_fgsm.cli.main import main
from robustbench_fgsm.cli.standard_streams import protect_standard_streams
from tests.cli.test_options import PROGRAMS

Case = TypeVar("Case")

SMALL = "--limit 20 --batch-size 10"
LINES = {
    "attack": f"attack --model mlp300 {SMALL} --out OUT/run",
    "benchmark": f"benchmark --model mlp300 {SMALL} --references none --levels none --rounds 1 --no-memory --out OUT/run",
    "compare": f"compare --model mlp300 {SMALL} --out OUT/run",
    "evaluate": f"evaluate --model mlp300 {SMALL} --out OUT/run --html OUT/page.html --csv OUT/tables --log-dir OUT/log",
    "explain": f"explain 0.37 --model mlp300 {SMALL} --out OUT/run",
    "gate": "gate RUN --baseline RUN --junit OUT/verdict.xml --badge OUT/badge.json",
    "lock": "lock RUN --output OUT/robustness.lock",
    "plot": "plot RUN --output OUT/figure.png",
    "report": "report RUN --output OUT/page.html",
    "sweep": f"sweep --model mlp300 {SMALL} --eps 4,8/255 --plot OUT/figure.png",
    "train": "train --model mlp300 --limit 40 --batch-size 20 --epochs 1 --held-out 10 --out OUT/run",
    "transfer": f"transfer --source mlp300 {SMALL} --plot OUT/figure.svg --out OUT/run",
    "verify": "verify robustbench_fgsm:fgsm --case magnitudes --plot OUT/figure.png",
    "list": "list models",
    "runs list": "runs list RUN",
    "runs show": "runs show RUN --export OUT/images.csv",
    "runs resume": "runs resume RUN --csv OUT/tables",
}
"""A line of each command: RUN is a finished evaluation, OUT a directory for what the command writes."""

USUAL = dict.fromkeys(LINES, 0) | {"verify": 1}
"""Exit code of each line: of a verification with one call, which does not measure everything, it is 1."""

WRITING = [name for name, line in LINES.items() if "OUT" in line]
PLACES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "TORCH_HOME", "MPLCONFIGDIR")
NEW_MOUNTS = 0x20000
"""Flag of `unshare` for mounts that this process alone sees."""

NOT_ALLOWED = 98
"""Exit code of a child that may not mount."""

WRITABLE, READ_ONLY = "mount -t tmpfs tmpfs {}", "mount -t tmpfs -o ro tmpfs {}"


def test_every_command_has_a_line() -> None:
    assert LINES.keys() == PROGRAMS.keys()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a finished evaluation."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.raises(SystemExit):
        main([*shlex.split(f"evaluate --model mlp300 {SMALL} --quiet --json"), "--out", str(out)])
    return out


def chosen(cases: Sequence[Case], name: str) -> Sequence[Case]:
    """Return all cases for a command if RFGSM_TEST_EVERY_CALL is set, else one, which differs between commands."""
    return cases if os.environ.get("RFGSM_TEST_EVERY_CALL") else [cases[[*LINES].index(name) % len(cases)]]


def run_prepared(line: str, finished: Path, place: Path, prepare: Callable[[], object]) -> tuple[int, str]:
    """Run a command in a forked process that is prepared first; return its exit code and its standard error."""
    words = [word.replace("RUN", str(finished)).replace("OUT", str(place / "out")) for word in shlex.split(line)]
    (place / "out").mkdir(exist_ok=True)
    child = os.fork()
    if not child:
        code = 99
        try:
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(place / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
            prepare()
            sys.stdout = sys.stderr = None
            protect_standard_streams()
            main(words)
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == NOT_ALLOWED:
        pytest.skip("mounting needs to be root")
    return code, (place / "stderr").read_text()


def mount(*commands: str) -> None:
    """Make mounts that this process alone sees."""
    alone = ctypes.CDLL(None).unshare(NEW_MOUNTS) == 0
    if not (
        alone and all(subprocess.run(command.split(), check=False, capture_output=True).returncode == 0 for command in commands)
    ):
        os._exit(NOT_ALLOWED)


def redirect(**streams: str) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        place = streams.get(name)
        if place == "closed":
            os.close(number)
        elif place == "no reader":
            reading, writing = os.pipe()
            os.close(reading)
            os.dup2(writing, number)
        elif place is not None:
            os.dup2(os.open(place, os.O_WRONLY), number)


@pytest.mark.parametrize("name", LINES)
def test_a_full_device(tmp_path: Path, finished: Path, one_thread: None, name: str) -> None:
    code, err = run_prepared(LINES[name], finished, tmp_path, lambda: redirect(stdout="/dev/full"))
    if name in ("plot", "report"):  # which print nothing there
        assert code == 0
    else:
        assert (code, "Traceback" in err) == (5, False)
        assert err.splitlines()[-1].startswith("rfgsm: standard output must be writable, got No space left on device")


NOBODY_READS: list[dict[str, str]] = [
    {"stdout": "no reader", "stderr": "/dev/full"},
    {"stdout": "closed", "stderr": "closed"},
    {"stdout": "no reader", "stderr": "no reader"},
]
HOMES = ("", "/nonexistent", "/etc/passwd", "/proc")


@pytest.mark.parametrize("name", LINES)
def test_streams_that_nobody_reads(tmp_path: Path, finished: Path, one_thread: None, name: str) -> None:
    for streams in chosen(NOBODY_READS, name):
        assert run_prepared(LINES[name], finished, tmp_path, partial(redirect, **streams)) == (USUAL[name], "")


@pytest.mark.parametrize("name", WRITING)
def test_a_read_only_place_is_one_line(tmp_path: Path, finished: Path, one_thread: None, name: str) -> None:
    place = tmp_path / "out"
    code, err = run_prepared(LINES[name], finished, tmp_path, lambda: mount(READ_ONLY.format(place)))
    assert (code, "Traceback" in err) == (5, False), err
    assert str(place) in err.splitlines()[-1]
    assert "choose another" in err.splitlines()[-1]


@pytest.mark.parametrize("name", LINES)
def test_all_other_places_may_be_read_only(tmp_path: Path, finished: Path, one_thread: None, name: str) -> None:
    """Current directory, home, cache and package; temporary files stand in the place of the result."""
    place = tmp_path / "out"

    def prepare() -> None:
        mount("mount -o remount,bind,ro /", WRITABLE.format(place))
        os.chdir("/")
        os.environ["TMPDIR"], tempfile.tempdir = str(place), None  # which this process may have chosen already

    code, err = run_prepared(LINES[name], finished, tmp_path, prepare)
    assert (code, "Traceback" in err) == (USUAL[name], False), err


@pytest.mark.parametrize("name", LINES)
def test_without_a_home(tmp_path: Path, finished: Path, one_thread: None, name: str) -> None:
    def prepare(place: str) -> None:
        for variable in PLACES:
            os.environ.pop(variable, None)
            os.environ.update({variable: place} if place else {})

    for place in chosen(HOMES, name):
        code, err = run_prepared(LINES[name], finished, tmp_path, partial(prepare, place))
        assert (code, "Traceback" in err) == (USUAL[name], False), err


@pytest.mark.parametrize("line", [f"evaluate --model mlp300 {SMALL}", "plot {run} --output {out}/figure.png"])
def test_no_place_for_temporary_files(tmp_path: Path, finished: Path, line: str) -> None:
    """In a process of its own, whose libraries look for such a place when they are imported."""
    out = tmp_path / "out"
    out.mkdir()
    words = [sys.executable, "-m", "robustbench_fgsm", *line.format(run=finished, out=out).split()]
    mounts = ["mount -o remount,bind,ro /", WRITABLE.format(out)]
    code = f"import os; from tests.cli.test_every_command import mount; mount(*{mounts}); os.chdir('/'); "
    code += f"os.execv({words[0]!r}, {words!r})"
    for directory, expected in (("/nonexistent", 5), (str(out), 0)):
        environment = os.environ | {"TMPDIR": directory, "HOME": "/nonexistent", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
        if done.returncode == NOT_ALLOWED:
            pytest.skip("mounting needs to be root")
        assert done.returncode == expected, done.stderr
        assert expected == 0 or done.stderr.endswith("got none: set TMPDIR to a directory that can be written\n")
