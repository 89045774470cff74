"""Everything this package raises on purpose; each class carries the exit code that the command line gives for it.

RfgsmError
├── InputError (2): wrong usage or bad input
│   ├── SettingError: an epsilon, norm, targeting rule or other setting
│   ├── ModelError: a model that is unknown, unreadable or not what it was said to be
│   ├── DataError: likewise for data
│   ├── CandidateError: a user's own attack that raises, or returns something else than images
│   └── RunError: a run directory that belongs to another run
├── InvalidRunError (1): done, but the numbers must not be used
├── IncompleteError (3): stopped early; the same command resumes
├── UnsafeError (4): refused, because it would execute what was not meant to be run
└── ResourceError (5): out of memory, disk or a lock
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

EXIT_SUCCESS = 0
EXIT_NEGATIVE_RESULT = 1
EXIT_INTERNAL_ERROR = 70
"""Nobody foresaw it: a defect of this package (`EX_SOFTWARE` of sysexits.h), never to be taken for "disagree"."""
EXIT_INTERRUPTED = 130


class RfgsmError(Exception):
    """Base of all errors raised on purpose: one line that says what was expected, what was got, and the remedy."""

    exit_code: ClassVar[int] = 2


class InputError(RfgsmError):
    """Wrong usage or bad input."""


class SettingError(InputError, ValueError):
    """A setting outside its domain."""


class ModelError(InputError):
    """A model that is unknown, unreadable, or not what it was said to be."""


class DataError(InputError):
    """Data that are unknown, unreadable, or not what they were said to be."""


class CandidateError(InputError):
    """A user's own attack raised, or returned something else than images."""


class RunError(InputError):
    """A run directory that belongs to another run."""


class InvalidRunError(RfgsmError):
    """The run finished, but its numbers must not be used."""

    exit_code = 1


class IncompleteError(RfgsmError):
    """The run stopped early; the same command resumes it."""

    exit_code = 3


class UnsafeError(RfgsmError):
    """Refused, because it would execute what was not meant to be run."""

    exit_code = 4


class ResourceError(RfgsmError):
    """Out of memory at batch size 1, disk, or a lock."""

    exit_code = 5


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """Remedy for an unknown name: `did you mean resnet18?` where one is near, else every known name."""
    names = sorted(known)
    near = get_close_matches(got, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def describe_error(error: BaseException) -> str:
    """Type and message of an error, in one line that is not too long."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= 200 else f"{text[:199]}…"
