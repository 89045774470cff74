"""Errors that this package raises; each class has the exit code of the command line.

RfgsmError
├── InputError (2): wrong usage or bad input
│   ├── SettingError: an epsilon, norm, targeting rule or other setting is invalid
│   ├── ModelError: a model is unknown, unreadable or unsuitable
│   ├── DataError: data are unknown, unreadable or unsuitable
│   ├── CandidateError: a user's own attack raises, or does not return images
│   ├── RunError: a run directory belongs to another run
│   └── FileError: a path is not a regular file, or its content is malformed or too large
├── InvalidRunError (1): the run finished, but its numbers must not be used
├── IncompleteError (3): the run stopped early; the same command resumes it
├── UnsafeError (4): refused, because it would run code that is not trusted
└── ResourceError (5): out of memory, disk or a lock
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

PACKAGE_FOLDER = str(Path(__file__).parent)

LONG_WORD = re.compile(r"(\S{200})\S{200,}")

EXIT_SUCCESS = 0
EXIT_NEGATIVE_RESULT = 1
EXIT_INTERNAL_ERROR = 70
"""Exit code of an unexpected error, a defect of this package (`EX_SOFTWARE` of sysexits.h); 1 would mean "disagree"."""
EXIT_INTERRUPTED = 130


class RfgsmError(Exception):
    """Base of this package's errors: one line that says what was expected, what was got, and the remedy.

    Words that are too long for a line, such as a cell of a damaged file, are cut.
    """

    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        return LONG_WORD.sub(r"\1…", super().__str__())


class InputError(RfgsmError):
    """Wrong usage or bad input of the user."""


class SettingError(InputError, ValueError):
    """Setting outside its allowed values."""


class ModelError(InputError):
    """Model that is unknown, unreadable or unsuitable."""


class DataError(InputError):
    """Data that are unknown, unreadable or unsuitable."""


class CandidateError(InputError):
    """User's own attack that raises, or does not return images."""


class RunError(InputError):
    """Run directory that belongs to another run."""


class FileError(InputError):
    """Path that is not a regular file, or whose content is malformed or too large."""


class InvalidRunError(RfgsmError):
    """The run finished, but its numbers must not be used."""

    exit_code = 1


class IncompleteError(RfgsmError):
    """The run stopped early; the same command resumes it."""

    exit_code = 3


class UnsafeError(RfgsmError):
    """Input that would run code that is not trusted."""

    exit_code = 4


class ResourceError(RfgsmError):
    """Lack of memory at batch size 1, of disk space, or of a lock."""

    exit_code = 5


LISTED_NAMES = 100
"""Known names that an error lists at most."""


def did_you_mean(got: object, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: `did you mean resnet18?` if a known name is near, else the known names.

    Of more than LISTED_NAMES, a sample is named: every n-th in alphabetical order.
    """
    names = sorted(known)
    near = get_close_matches(str(got), names, n=3, cutoff=0.5) or [name for name in names if name.lower() == str(got).lower()]
    if near:
        return f"did you mean {' or '.join(near)}?"
    if len(names) <= LISTED_NAMES:
        return f"choose from {', '.join(names)}"
    sample = names[:: len(names) // 10]
    return f"choose from {len(names):,} names such as {', '.join(sample)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's type if the message is empty."""
    return next(iter(_message(error).strip().splitlines()), type(error).__name__)


def describe_error(error: BaseException) -> str:
    """Return type and message of an error in one line of at most 200 characters."""
    text = " ".join(f"{type(error).__name__}: {_message(error)[:2000]}".split()).removesuffix(":")
    return text if len(text) <= 200 else f"{text[:199]}…"


def _message(error: BaseException) -> str:
    """Return the message of an error; empty if the error cannot give it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (the class of the error may be a user's)
        return ""


OUT_OF_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "_alloc_failed")
"""Parts of the messages, in lower case, of libraries that raise a RuntimeError if an allocation fails."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that the CPU or a device is out of memory; PyTorch's own class is a RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in _message(error).lower() for message in OUT_OF_MEMORY_MESSAGES)


def warn_user(text: str) -> None:
    """Give a RuntimeWarning that names the line of the caller of this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, RuntimeWarning, stacklevel=level)
