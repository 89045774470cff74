"""The program in a process of its own: signals at any time, streams that are closed or full, and missing places."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from robustbench_fgsm.runs.ledger import ledger_name

PROGRAM = [sys.executable, "-m", "robustbench_fgsm"]
LONG = ["evaluate", "--model", "mlp300", "--limit", "4000", "--batch-size", "16", "--optimize", "none"]
MINUTES = ["evaluate", "--model", "resnet18", "--batch-size", "16", "--optimize", "none"]
"""A run that no machine finishes before the latest signal."""

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PAIRS = [
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGHUP,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGTERM) * 5,
]
NOT_IGNORED = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)
"""A shell lets what it starts in the background ignore SIGINT, and nohup lets it ignore SIGHUP."""


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", NOT_IGNORED, *PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def send(process: subprocess.Popen[str], numbers: Sequence[signal.Signals]) -> tuple[int, str]:
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.01)
    _, err = process.communicate(timeout=500)
    return process.returncode, err


@pytest.mark.parametrize("numbers", PAIRS, ids=lambda numbers: "-".join(number.name for number in numbers[:3]))
def test_signals_while_it_works(tmp_path: Path, numbers: Sequence[signal.Signals]) -> None:
    process, out = start(*LONG, "--out", str(tmp_path / "run"), "--quiet"), tmp_path / "run"
    while not (out / ledger_name(0)).exists():
        assert process.poll() is None
        time.sleep(0.01)
    code, err = send(process, numbers)
    assert (code, err.count("\n")) == (130, 1)
    assert err in ("rfgsm: interrupted\n", f"rfgsm: interrupted: rfgsm runs resume {out} continues\n")
    done = subprocess.run([*PROGRAM, "runs", "show", str(out), "--json"], capture_output=True, check=True, env=ENVIRONMENT)
    assert json.loads(done.stdout)["state"] == "interrupted"


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Return True if a function of the process handles the signal."""
    (mask,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, which says what signals a process handles")
@pytest.mark.parametrize("delay", [0.0, 0.6, 1.6])
@pytest.mark.parametrize("numbers", [PAIRS[0], PAIRS[-1]], ids=["once", "often"])
def test_signals_while_it_starts(tmp_path: Path, delay: float, numbers: Sequence[signal.Signals]) -> None:
    process = start(*MINUTES, "--out", str(tmp_path / "run"), "--quiet")
    while not catches(process, signal.SIGTERM):  # Python itself does not
        time.sleep(0.001)
    time.sleep(delay)
    code, err = send(process, numbers)
    assert code == 130
    assert not err or err.startswith("rfgsm: interrupted")  # nothing in the first tenths of a second


def bash(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("rfgsm", f"'{sys.executable}' -m robustbench_fgsm", 1)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=ENVIRONMENT | environment,
    )


PRINTING = ["--help", "--version", "list models", "list models --json", "evaluate --model mlp300 --limit 40 --batch-size 16"]


@pytest.mark.parametrize("words", PRINTING)
def test_a_full_device_exits_5(words: str) -> None:
    done = bash(f"rfgsm {words} --quiet > /dev/full" if words.startswith("eval") else f"rfgsm {words} > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert done.stderr == (
        "rfgsm: standard output must be writable, got No space left on device: free some space or write to another place\n"
    )


@pytest.mark.parametrize("words", PRINTING[3:])
@pytest.mark.parametrize("redirect", ["| true", "2>/dev/full", ">&-", "2>&-", ">&- 2>&- <&-", "2>&1 | true"])
def test_closed_streams_are_no_error(words: str, redirect: str) -> None:
    done = bash(f"rfgsm {words} {redirect}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_errors_without_standard_error() -> None:
    assert bash("rfgsm evaluate --model nosuch 2>&-").returncode == 2
    assert bash("rfgsm evaluate --model nosuch 2>/dev/full").returncode == 2


def test_waits_for_a_full_pipe() -> None:
    """Also if the pipe does not block: the reader sees all."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    words = [*PROGRAM, "sweep", "--model", "mlp300", "--limit", "40", "--eps", ",".join(map(str, range(1, 60))) + "/255", "--json"]
    process = subprocess.Popen(words, stdout=writing, stderr=writing, env=ENVIRONMENT)
    os.close(writing)
    time.sleep(1)
    text = b""
    while part := os.read(reading, 100):
        text += part
    assert process.wait(60) == 0
    os.close(reading)
    assert len(json.loads(text[text.index(b"{") :])["evaluations"][0]["epsilons"]) == 59


@pytest.mark.parametrize("place", ["/nonexistent", "/proc"])
def test_missing_places(tmp_path: Path, place: str) -> None:
    """Neither a directory of the user nor one for temporary files can be written."""
    names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    words = f"evaluate --model mlp300 --limit 40 --batch-size 16 --out {tmp_path}/run --html {tmp_path}/page.html"
    done = bash(f"rfgsm {words}", **dict.fromkeys(names, place))
    assert done.returncode == 0, done.stderr
    kept = f"Kept in {tmp_path}/run: rfgsm report {tmp_path}/run\n"
    assert done.stderr == f"mlp300: standard weights, 40 images of fashion-mnist, cpu\n{kept}"
    plot = f"sweep --model mlp300 --limit 40 --batch-size 16 --quiet --eps 4,8/255 --plot {tmp_path}/a.png"
    done = bash(f"rfgsm {plot}", **dict.fromkeys(names, place))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr  # Matplotlib may say that it keeps its cache elsewhere


def test_the_last_collection_of_garbage_is_left_out() -> None:
    """It looks at each object that PyTorch has imported."""
    count = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))"
    run = "import sys; sys.argv = ['rfgsm', '--version']; from robustbench_fgsm.cli.program import run_program; run_program()"
    done = subprocess.run([sys.executable, "-c", f"{count}; {run}"], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.splitlines()[-1] == "True"
