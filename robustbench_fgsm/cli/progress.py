"""Progress of a command on standard error: a bar on a terminal, elsewhere a line every 30 seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.status import Status

from robustbench_fgsm.cli import log

LINE_INTERVAL = 30.0
"""Seconds between lines, if standard error is not a terminal."""


class ProgressReporter:
    """Progress with speed, time left and running attack success rate, shown by functions.

    Args:
        show: called with images done, images in all, and a text of speed and attack success rate.
        clock: returns the time in seconds.
        interval: seconds between two calls of `show`, at least.
        show_check: called with the attack of a check, images done and images in all.
    """

    def __init__(
        self,
        show: Callable[[int, int, str], None],
        clock: Callable[[], float] = time.monotonic,
        interval: float = 0.0,
        show_check: Callable[[str, int, int], None] = lambda *_: None,
    ) -> None:
        self._show, self._clock, self._every, self._checks = show, clock, interval, show_check
        self._began = self._shown = clock()
        self._first: int | None = None
        self._success = ""
        self.log_reporter: ProgressReporter | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report that `done` of `total` images are done."""
        if self.log_reporter is not None:
            self.log_reporter(done, total)
        now = self._clock()
        if self._first is None:
            self._first, self._began = done, now  # images of an earlier run took no time of this run
        if now - self._shown < self._every:
            return
        self._shown = now
        passed = now - self._began
        rate = (done - self._first) / passed if passed > 0 else 0.0
        speed = [f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"] if rate else []
        self._show(done, total, ", ".join([*speed, *([self._success] if self._success else [])]))

    def update_fooled(self, fooled: int, attacked: int) -> None:
        """Report how many of the attacked images are fooled."""
        if self.log_reporter is not None:
            self.log_reporter.update_fooled(fooled, attacked)
        self._success = f"ASR {100 * fooled / attacked:.1f} %" if attacked else ""

    def update_check(self, attack: str, done: int, total: int) -> None:
        """Report the current attack of a check, and how many of its images are done with all attacks."""
        if self.log_reporter is not None:
            self.log_reporter.update_check(attack, done, total)
        if self._clock() - self._shown >= self._every:
            self._shown = self._clock()
            self._checks(attack, done, total)

    def time_left(self, done: int, total: int) -> str:
        """Return the time left at the speed so far, as `0:01:30`; empty text if the speed is not known yet."""
        passed = self._clock() - self._began
        fresh = done - (self._first or 0)
        return str(timedelta(seconds=round(passed * (total - done) / fresh))) if fresh > 0 else ""


class _Loading:
    """The spinner of this process, if it shows one."""

    status: Status | None = None


def show_loading(*, quiet: bool) -> None:
    """Show on a terminal that libraries load, until something else is shown."""
    console = Console(stderr=True)
    if not quiet and console.is_terminal and _Loading.status is None:
        _Loading.status = console.status("loading PyTorch")
        _Loading.status.start()
        console.show_cursor(True)  # a second signal may end the process at once


def end_loading() -> None:
    """Remove the spinner, if there is one."""
    if _Loading.status is not None:
        _Loading.status.stop()
        _Loading.status = None


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[ProgressReporter]:
    """Show a progress bar on a terminal; elsewhere, and in the log, write a line every 30 seconds."""
    end_loading()
    with _progress_reporter(title, quiet=quiet) as bar:
        if log.is_open():
            bar.log_reporter = line_reporter(title, write=log.write)
        yield bar


@contextmanager
def _progress_reporter(title: str, *, quiet: bool) -> Iterator[ProgressReporter]:
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield ProgressReporter(lambda *_: None) if quiet else line_reporter(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None, said="")
        beside: list[TaskID] = []

        def check(attack: str, done: int, total: int) -> None:
            if not beside:  # a row of its own, because the check has other images
                beside.append(progress.add_task("", said=""))
            progress.update(beside[0], description=f"{title}, {attack}", completed=done, total=total)

        yield ProgressReporter(
            lambda done, total, said: progress.update(task, completed=done, total=total, said=said), show_check=check
        )


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def line_reporter(
    title: str,
    interval: float = LINE_INTERVAL,
    clock: Callable[[], float] = time.monotonic,
    write: Callable[[str], None] = _to_stderr,
) -> ProgressReporter:
    """Return a reporter that writes a line every `interval` seconds, to standard error by default."""

    def tell(done: int, total: int, said: str) -> None:
        left = bar.time_left(done, total)
        parts = [f"{done:,} of {total:,}", *([said] if said else []), *([f"{left} left"] if left else [])]
        write(f"{title}: {', '.join(parts)}")

    def check(attack: str, done: int, total: int) -> None:
        write(f"{title}, {attack}: {done:,} of {total:,}")

    bar = ProgressReporter(tell, clock, interval, check)
    return bar
