"""Interrupt the program by a signal: the first signal ends the command in order, a second one ends the program at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from robustbench_fgsm.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that interrupt; Windows has no SIGHUP, which a terminal sends that is closed."""

MESSAGE = "rfgsm: interrupted\n"
IMPORT_SYSTEM = "<frozen importlib"
"""Beginning of the file name of each function of Python's import system."""


class _Received:
    """The signals that this process has received since the command began."""

    count = 0
    reported = False


def was_interrupted() -> bool:
    """Return True if a signal has interrupted the command."""
    return _Received.count > 0


def mark_reported() -> None:
    """Record that the interruption has been reported, so that a second signal does not report it again."""
    _Received.reported = True


@contextmanager
def interruptible() -> Iterator[None]:
    """Handle signals during a command, and restore the earlier handlers; in another thread than the main one do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _set_handlers()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def handle_signals_until_exit() -> None:
    """Handle signals as long as this process lives. Worker processes leave it to their parent."""
    _set_handlers()
    atexit.register(_ignore_signals)  # the first to be registered runs last
    sys.unraisablehook = _end_if_interrupted
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_to_parent)


def _set_handlers() -> dict[signal.Signals, Any]:
    _Received.count, _Received.reported = 0, False
    before: dict[signal.Signals, Any] = {}
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell lets programs in the background ignore SIGINT
            before[number] = signal.signal(number, _receive)
    return before


def _receive(_signal: int, frame: FrameType | None) -> None:
    _Received.count += 1
    if _Received.count > 1 or _is_importing(frame):
        end_at_once()
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    """Return True in an import, which may turn an exception into any other one, or print it and go on."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORT_SYSTEM):
            return True
        frame = frame.f_back
    return False


def end_at_once() -> NoReturn:
    """End this process. All files are whole at each moment."""
    if not _Received.reported and os.environ.get("RANK", "0") == "0":
        with suppress(OSError):
            os.write(2, MESSAGE.encode())
    os._exit(EXIT_INTERRUPTED)


def _end_if_interrupted(unraisable: UnraisableHookArgs) -> None:
    """End the program if Python would only print an interruption and go on."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        end_at_once()
    sys.__unraisablehook__(unraisable)


def _ignore_signals() -> None:
    """Keep the exit code that is decided, because Python would let the next signal kill the process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave_to_parent() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
