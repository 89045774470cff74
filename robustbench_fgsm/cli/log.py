"""A log of each process where --log-dir asks for one: what it would say if it were alone, with time and rank."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from robustbench_fgsm.errors import ResourceError

LOG_DIR_OPTION = "--log-dir"
_streams: list[IO[str]] = []


def process_rank() -> int:
    """Of this process, 0 where it is alone; known before processes have joined."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def open_log(args: Sequence[str]) -> Iterator[None]:
    """Append what `write` is told to the file of this process in the directory that the command's words name, if any.

    Raises ResourceError where it cannot be written.
    """
    place = _log_directory(args)
    if place is None:
        yield
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        stream = (place / f"rank-{process_rank():05d}.log").open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ResourceError(
            f"{LOG_DIR_OPTION} must be a directory that can be written, got {place} ({error.strerror}): choose another"
        ) from error
    with stream:
        _streams.append(stream)
        try:
            yield
        finally:
            _streams.remove(stream)


def is_open() -> bool:
    """Whether there is a log."""
    return bool(_streams)


def write(text: str) -> None:
    """Add these lines to the log, if there is one."""
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    for stream in _streams:
        stream.writelines(f"{now} rank {process_rank()}: {line}\n" for line in text.splitlines())


def _log_directory(args: Sequence[str]) -> Path | None:
    for at, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name == LOG_DIR_OPTION and (equals or at + 1 < len(args)):
            return Path(value if equals else args[at + 1])
    return None
