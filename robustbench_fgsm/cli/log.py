"""Log file of each process for --log-dir: the messages of the process, with time and rank."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from robustbench_fgsm.files.regular_files import append, open_to_write, translate_os_errors
from robustbench_fgsm.printable_text import printable

LOG_DIR_OPTION = "--log-dir"
FLAG_LETTERS = "qjh"
"""Options of one letter that take no value."""

_logs: dict[int, Path] = {}
"""Path of each open log, by its descriptor."""


def process_rank() -> int:
    """Return the rank of this process, 0 if it is alone; processes need not have joined."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def open_log(args: Sequence[str]) -> Iterator[None]:
    """Open the log of this process in the directory that --log-dir names, if any; `write` appends to it.

    Raises ResourceError if the file cannot be written, as `write` does.
    """
    directory = path_after(args, LOG_DIR_OPTION)
    if directory is None:
        yield
        return
    place = directory / f"rank-{process_rank():05d}.log"
    with translate_os_errors(place):
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = open_to_write(place, append=True)
    _logs[descriptor] = place
    try:
        yield
    finally:
        del _logs[descriptor]
        os.close(descriptor)


def is_open() -> bool:
    """Return True if a log is open."""
    return bool(_logs)


def write(text: str) -> None:
    """Append the lines of the text to the log, if one is open."""
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    lines = "".join(f"{now} rank {process_rank()}: {printable(line)}\n" for line in text.splitlines())
    for descriptor, place in _logs.items():
        with translate_os_errors(place):
            append(descriptor, lines.encode(errors="backslashreplace"))


def path_after(args: Sequence[str], *options: str) -> Path | None:
    """Return the path that an option of a command line names, before its words are parsed; None without the option.

    A letter may stand behind others that take no value, and its value behind it without a blank: `-o DIR`, `-oDIR`, `-qo DIR`.
    """
    for at, word in enumerate(args):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
        else:
            letters = word[1:].lstrip(FLAG_LETTERS) if word.startswith("-") else ""
            name, equals, value = f"-{letters[:1]}", letters[1:], letters[1:]
        if name in options and (equals or at + 1 < len(args)):
            return Path(value if equals else args[at + 1])
    return None
