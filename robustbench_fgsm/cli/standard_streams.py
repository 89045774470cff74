"""Standard output and standard error that may be closed early, full, or missing."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO

from robustbench_fgsm.errors import ResourceError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def protect_standard_streams() -> None:
    """Replace the standard streams of this process by streams whose failure is no traceback.

    If the reader of a stream is gone, or standard error fails, the rest of the text is dropped. If standard output fails in another
    way, the write raises ResourceError. Text that the stream's encoding lacks is escaped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file that is opened would be a standard stream
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _protected(1, sys.stdout), _protected(2, sys.stderr)


_RESULTS: list[TextIO] = []
"""Standard output, while a command runs and all other text is sent to standard error."""


@contextmanager
def only_results_on_standard_output() -> Iterator[None]:
    """Send what networks, candidates and libraries print to standard error; results are written to `results_stream`."""
    _RESULTS.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _RESULTS.pop()


def results_stream() -> TextIO:
    """Return the stream of results."""
    return _RESULTS[-1] if _RESULTS else sys.stdout


class ProtectedFile(io.FileIO):
    """File of a standard stream, which drops all text after its first failure."""

    def __init__(self, descriptor: int, *, may_fail: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._may_fail, self._is_gone = may_fail, False

    def write(self, content: ReadableBuffer, /) -> int:
        """Write bytes and return their number; wait if the reader is slow."""
        size = memoryview(content).nbytes
        while not self._is_gone:
            try:
                written: int | None = super().write(content)
            except OSError as error:
                self._is_gone = True
                if not isinstance(error, BrokenPipeError) and not self._may_fail:
                    raise ResourceError(
                        f"standard output must be writable, got {error.strerror}: free some space or write to another place"
                    ) from error
            else:
                if written is not None:
                    return written
                select.select([], [self.fileno()], [])  # the pipe is full and does not block
        return size


def _protected(descriptor: int, stream: TextIO | None) -> TextIO:
    raw = ProtectedFile(descriptor, may_fail=descriptor == 2)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty() or descriptor == 2,
    )
