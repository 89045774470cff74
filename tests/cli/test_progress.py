"""What is said of progress: rate, time left and the running success, in a bar or a line every half minute."""

from __future__ import annotations

import pytest

from robustbench_fgsm.cli import progress


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_show_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    bar = progress.line_reporter("sweep", 30, clock)
    bar(4000, 10_000)  # of an earlier session, which takes none of the time of this one
    for clock.now in range(1, 61):
        bar.update_fooled(3, 4)
        bar(4000 + 50 * int(clock.now), 10_000)
    assert capsys.readouterr().err.splitlines() == [
        "sweep: 5,500 of 10,000, 50/s, ASR 75.0 %, 0:01:30 left",
        "sweep: 7,000 of 10,000, 50/s, ASR 75.0 %, 0:01:00 left",
    ]


def test_omits_unknown_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    bar = progress.line_reporter("sweep", 30, clock)
    bar.update_fooled(0, 0)
    clock.now = 31
    bar(0, 10)
    assert capsys.readouterr().err == "sweep: 0 of 10\n"


def test_a_bar_shows_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.progress_bar("sweep", quiet=False) as bar:
        bar.update_fooled(1, 2)
        bar(0, 20)
        bar(20, 20)
    shown = capsys.readouterr().err
    assert "sweep" in shown
    assert "20/20" in shown
    assert "ASR 50.0 %" in shown


def test_shows_progress_of_a_check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    bar = progress.line_reporter("evaluate", 30, clock)
    for clock.now, attack, done in ((10, "FGSM", 0), (31, "PGD-20", 0), (40, "Square", 0), (62, "PGD-20", 128)):
        bar.update_check(attack, done, 200)
    assert capsys.readouterr().err.splitlines() == ["evaluate, PGD-20: 0 of 200", "evaluate, PGD-20: 128 of 200"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.progress_bar("evaluate", quiet=False) as shown:
        shown(20, 20)
        shown.update_check("Square", 128, 200)
    text = capsys.readouterr().err
    assert "20/20" in text
    assert "evaluate, Square" in text
    assert "128/200" in text


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    with progress.progress_bar("sweep", quiet=True) as bar:
        bar(1, 2)
    assert capsys.readouterr() == ("", "")
