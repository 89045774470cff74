"""A command under torchrun: which process it is, who prints, and what becomes of its exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from robustbench_fgsm.engine.torchrun import is_started
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.engine.distributed import World

SHARED = {"attack", "evaluate", "runs", "sweep", "train", "transfer"}
"""Commands whose work several processes share."""


def joined() -> World:
    """The world of this command; loads torch, as commands that ask for it do anyhow."""
    from robustbench_fgsm.engine.distributed import join

    return join()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM stop what is done here as Ctrl-C does: what was kept is whole, and the exit code says interrupted."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not disturb the cleaning up
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def speaks() -> bool:
    """Whether this process, which stops early, says why: of several the first one that does, for it is the cause.

    Before the processes have found each other they fail alike, and the leading one says it.
    """
    module = sys.modules.get("robustbench_fgsm.engine.distributed")
    if not is_started():
        return True
    if module is None or not module.join.cache_info().currsize:
        return os.environ["RANK"] == "0"
    world: World = module.join()
    return world.fail()


def finished(code: int) -> int:
    """The exit code of a command that did its work: under torchrun 0, whatever the answer, lest it be started again."""
    if not is_started():
        return code
    module = sys.modules.get("robustbench_fgsm.engine.distributed")
    if module is not None:
        module.leave()
    return 0


def check_shared(words: Sequence[str]) -> None:
    """Raise SettingError where torchrun started several processes of a command that one of them does alone."""
    if is_started() and os.environ["WORLD_SIZE"] != "1" and not {*words[:1]} <= SHARED:
        raise SettingError(f"torchrun starts several processes, but rfgsm {words[0]} is done by one: start it alone")
