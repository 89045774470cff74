"""Signals: the first one raises, a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from robustbench_fgsm.cli.interruption import interruptible, was_interrupted

BODIES = {
    "twice": "try:\n    send()\nexcept KeyboardInterrupt:\n    send()",
    "in an import": "sys.path.insert(0, sys.argv[1]); import sender",
    "in a destructor": "class Last:\n    def __del__(self):\n        send()\nlast = Last()\ndel last",
    "at exit": "import atexit; atexit.register(send)",
}
PROGRAM = """
import os, signal, sys
from robustbench_fgsm.cli.interruption import handle_signals_until_exit
signal.signal(signal.{name}, signal.default_int_handler)
def send():
    os.kill(os.getpid(), signal.{name})
    sum(range(1000))
handle_signals_until_exit()
{body}
"""


def work(number: signal.Signals) -> None:
    with interruptible():
        assert not was_interrupted()
        os.kill(os.getpid(), number)
        sum(range(1000))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_raises(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)  # pytest may have been started with SIGINT ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            work(number)
        assert was_interrupted()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("body", BODIES)
def test_ends_at_once(tmp_path: object, body: str, name: str) -> None:
    with open(f"{tmp_path}/sender.py", "w") as module:  # noqa: PTH123
        module.write(f"import os, signal\nos.kill(os.getpid(), signal.{name})\nsum(range(1000))\n")
    words = [sys.executable, "-c", PROGRAM.format(name=name, body=BODIES[body]), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "rfgsm: interrupted\n")


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            assert not was_interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
