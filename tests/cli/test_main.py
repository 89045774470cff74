"""What becomes of words, of errors and of interrupts."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm import errors
from robustbench_fgsm.comparison import compare as module

Run = Callable[..., tuple[int, str, str]]

SMALL = ("compare", "--model", "mlp300", "--limit", "8")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `rfgsm compare` raise this once its input is accepted, in a file of the package."""
    found: dict[str, Any] = {"error": error}
    exec(compile("def fail(*_, **__):\n    raise error", str(module.__file__), "exec"), found)
    monkeypatch.setattr(module, "compare_spec", found["fail"])


def test_the_version(run: Run) -> None:
    assert run("--version") == (0, f"rfgsm {version('robustbench-fgsm')}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_the_commands(run: Run, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "compare" in out
    assert "list" in out


def test_no_command_shows_help(run: Run) -> None:
    code, out, err = run()
    assert code == 2
    assert "compare" in out + err
    assert "rfgsm:" not in err


@pytest.mark.parametrize("words", [("--data", ""), ("--data=",), ("--out", " "), ("--csv", "")])
def test_an_empty_word_stands_for_no_default(
    run: Run, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("evaluate", "--model", "mlp300", "--limit", "8", *words)
    name = words[0].rstrip("=")
    assert (code, out) == (2, "")
    assert err == f"rfgsm: {name} must have a value, got nothing: set the variable of the shell, or leave {name} out\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("compare --model nosuch", "choose from mlp300, mlp600, mlp900, resnet18, smallcnn"),
        ("compare --model resnet", "did you mean resnet18?"),
        ("compare --model resnet18 --eps 8", "did you mean 8/255?"),
        ("compare --model resnet18 --eps -1", "epsilon must be a finite number >= 0 of float32, got -1"),
        ("compare --model resnet18 --norm 0.5", "norm must be inf, 1, 2 or any real p >= 1, got 0.5"),
        ("compare --model resnet18 --data nosuch", "choose from"),
        ("compare --model resnet18 --data fashion_mnist", "did you mean fashion-mnist?"),
        ("compare --model resnet18 --limit 0", "limit must be an integer >= 1, got 0"),
        ("compare --model resnet18 --batch-size x", "batch size must be auto or a positive integer, got 'x'"),
        ("compare --model resnet18 --batch-size 0", "got '0'"),
        ("compare --model '[red]x[/red]'", "got '[red]x[/red]'"),
        ("compare --model 'two\nlines'", r"got 'two\nlines'"),
        ("compare --help-me", "--help-me"),
        ("compre", "Did you mean 'compare'"),
    ],
)
def test_bad_input_exits_2(run: Run, line: str, remedy: str) -> None:
    code, out, err = run(*shlex.split(line))
    assert (code, out) == (2, "")
    assert err.startswith("rfgsm: ")
    assert err.count("\n") == 1
    assert remedy in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DataError("said"), 2),
        (errors.InvalidRunError("said"), 1),
        (errors.IncompleteError("said"), 3),
        (errors.UnsafeError("said"), 4),
        (errors.ResourceError("said"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_an_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    failing(monkeypatch, error)
    said = "interrupted" if isinstance(error, KeyboardInterrupt) else "said"
    assert run(*SMALL, "--quiet", "--json") == (code, "", f"rfgsm: {said}\n")


def test_error_is_printed_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errors.ModelError("first\n  second"))
    assert run(*SMALL, "--quiet")[2] == "rfgsm: first second\n"


def test_unexpected_errors_exit_70(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("unforeseen"))
    code, out, err = run(*SMALL, "--quiet")
    assert (code, out) == (70, "")
    assert "Traceback" in err
    assert err.endswith("ZeroDivisionError: unforeseen\n")


def test_debug_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errors.DataError("said"))
    code, _, err = run(*SMALL, "--quiet", "--debug")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.endswith("DataError: said\n")


def test_a_lack_of_memory_exits_5(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    code, _, err = run(*SMALL, "--quiet")
    assert (code, err.count("\n")) == (5, 1)
    assert "pass --batch-size 1" in err


def test_a_real_process_prints_no_traceback() -> None:
    words = [sys.executable, "-m", "robustbench_fgsm", "compare", "--model", "nosuch"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rfgsm: model must be a name of `rfgsm list models`, got 'nosuch'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["list models", "list models --json"])
def test_an_early_closed_pipe_succeeds(words: str) -> None:
    line = f"{shlex.quote(sys.executable)} -m robustbench_fgsm {words} | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_json_goes_through_a_pipe() -> None:
    rfgsm, python = f"{shlex.quote(sys.executable)} -m robustbench_fgsm", shlex.quote(sys.executable)
    line = f"{rfgsm} compare --model mlp300 --limit 8 --json | {python} -m json.tool"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout)["n"] == 8
    assert done.stderr.startswith("mlp300: standard weights, 8 images of fashion-mnist")
