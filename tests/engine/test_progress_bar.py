"""A progress bar where somebody sees it, and nowhere else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.engine.progress_bar import ProgressSetting, is_interactive, progress_bar, with_progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    @property
    def left(self) -> str:
        """What is in the line at the end."""
        return self.getvalue().rstrip("\r").rpartition("\r")[2].strip()


@with_progress_bar
def work(steps: int, *, progress: ProgressSetting = None) -> int:
    """Report every step, as the functions of the library do."""
    assert callable(progress) or progress is None
    for step in range(steps):
        if progress is not None:
            progress(step + 1, steps)
    return steps


def test_a_terminal_shows_a_bar_that_leaves_nothing() -> None:
    with redirect_stderr(Terminal()) as terminal:
        assert work(3) == 3
    assert "work" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()
    assert terminal.left == ""


def test_a_pipe_shows_nothing() -> None:
    with redirect_stderr(io.StringIO()) as pipe:
        work(3)
    assert pipe.getvalue() == ""


def test_true_shows_a_bar_in_a_pipe_too() -> None:
    with redirect_stderr(io.StringIO()) as pipe:
        work(3, progress=True)
    assert "work" in pipe.getvalue()


@pytest.mark.parametrize("progress", [False, lambda done, total: None], ids=["false", "function"])
def test_another_setting_shows_no_bar(progress: ProgressSetting) -> None:
    with redirect_stderr(Terminal()) as terminal:
        work(3, progress=progress)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("disabled", ["", "1"])
def test_the_environment_switches_the_bar_off(disabled: str) -> None:
    code = "from robustbench_fgsm.engine.progress_bar import progress_bar\nwith progress_bar('work', True) as report: report(1, 2)"
    environment = os.environ | ({"TQDM_DISABLE": disabled} if disabled else {})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert ("work" in done.stderr) == (not disabled)


def test_workers_show_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with redirect_stderr(Terminal()):
        assert not is_interactive()


def test_work_in_two_parts_starts_the_bar_again() -> None:
    with redirect_stderr(Terminal()) as terminal, progress_bar("parts") as report:
        assert report is not None
        report(5, 5)
        report(0, 3)
    assert "0/3" in terminal.getvalue()


def interrupt() -> None:
    with progress_bar("work") as report:
        assert report is not None
        report(1, 3)
        raise KeyboardInterrupt


def test_an_interruption_removes_the_bar_and_comes_through() -> None:
    with redirect_stderr(Terminal()) as terminal, pytest.raises(KeyboardInterrupt):
        interrupt()
    assert "work" in terminal.getvalue()
    assert terminal.left == ""


def test_a_refused_call_shows_no_bar(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with redirect_stderr(Terminal()) as terminal, pytest.raises(rf.SettingError):
        rf.evaluate(classifier, images, epsilon=-1)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("call", [rf.evaluate, rf.sweep, rf.distances], ids=lambda call: call.__name__)
def test_measurements_show_a_bar(call: Callable[..., object], classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with redirect_stderr(Terminal()) as terminal:
        call(classifier, images.head(32), stable=True)
    assert call.__name__ in terminal.getvalue()
    assert terminal.left == ""
