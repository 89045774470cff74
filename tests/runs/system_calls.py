"""Run a command whose process is killed or interrupted, or whose disk fails, at the N-th system call that changes a directory."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from robustbench_fgsm.cli.main import main
from robustbench_fgsm.files import array_files

NAMES = ("write", "fsync", "rename", "replace", "unlink", "remove", "rmdir", "mkdir", "ftruncate", "open")
FAILING = ("write", "fsync")
"""Calls that fail if the disk is full."""

FAILING_ONCE = (*FAILING, "rename", "replace", "mkdir", "open")
"""Calls that fail once, with an error of the disk."""

DISK_ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS")

CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILLED = -signal.SIGKILL
INTERRUPTIONS = {"interrupt": (signal.SIGTERM,), "interrupt-twice": (signal.SIGINT, signal.SIGTERM)}
"""Signals that come at a call. The second one comes while the first one is handled."""


class SystemCalls:
    """Calls that change files below a directory, counted. The call of that number is stopped.

    action: `kill` before the call (or after half of a write), `kill-after` it, one of INTERRUPTIONS, `full` to raise ENOSPC from
        then on, or one of DISK_ERRORS to raise it once.
    """

    def __init__(self, directory: Path, number: int, action: str) -> None:
        self.directory, self.number, self.action = str(directory), number, action
        self.names: list[str] = []
        self.plain = {name: getattr(os, name) for name in NAMES}

    def concern(self, where: Any) -> bool:
        """Return True if a path or a descriptor is below the directory."""
        try:
            path = os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else os.fspath(where)  # noqa: PTH115
        except (OSError, TypeError):
            return False
        return str(path).startswith(self.directory)

    def count(self, name: str, call: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        """Count a call, and make it or stop."""
        self.names.append(name)
        is_last = len(self.names) == self.number
        if is_last and self.action == "kill":
            half()
            os.kill(os.getpid(), signal.SIGKILL)
        if is_last and self.action in INTERRUPTIONS:
            signals = INTERRUPTIONS[self.action]
            signal.pthread_sigmask(signal.SIG_BLOCK, signals)
            for one in signals:
                os.kill(os.getpid(), one)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        is_full = self.action == "full" and 0 < self.number <= len(self.names) and name in FAILING
        if is_full or (is_last and self.action in DISK_ERRORS):
            code = errno.ENOSPC if is_full else getattr(errno, self.action)
            raise OSError(code, os.strerror(code))
        try:
            return call()
        finally:
            if is_last and self.action == "kill-after":
                os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Replace the functions of `os`, the files of `open`, and the function that writes safetensors files."""
        for name in NAMES:
            setattr(os, name, self._counted(name))
        plain_open, calls = io.open, self

        class CountedFile(io.FileIO):
            def write(self, content: Any, /) -> int:
                part = memoryview(content)[: memoryview(content).nbytes // 2]
                write = super().write
                if not calls.concern(self.fileno()):
                    return write(content)
                return int(calls.count("write", lambda: write(content), lambda: write(part)))

        def open_counted(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not {*"wax+"} & {*mode} or not calls.concern(file):
                return plain_open(file, mode, *rest, **named)
            if not isinstance(file, int):
                self.count("open", lambda: None)
            if mode in ("wb", "ab"):
                return io.BufferedWriter(CountedFile(file, mode[0]))
            return plain_open(file, mode, *rest, **named)

        io.open = builtins.open = open_counted
        plain_save = safetensors.torch.save_file

        def save_counted(tensors: Any, file: Any) -> None:
            try:
                self.count("write", lambda: plain_save(tensors, file))
            except OSError as error:
                raise SafetensorError(f"Error while serializing: I/O error: {error.strerror}") from error

        setattr(array_files, "save_file", save_counted)  # noqa: B010  (of another type for mypy)

    def _counted(self, name: str) -> Callable[..., Any]:
        plain = self.plain[name]

        def call(where: Any, *rest: Any, **named: Any) -> Any:
            changes_nothing = (name == "open" and not rest[0] & CHANGING) or (name == "mkdir" and os.path.isdir(where))  # noqa: PTH112
            if changes_nothing or not self.concern(where):
                return plain(where, *rest, **named)
            half = (lambda: plain(where, rest[0][: len(rest[0]) // 2])) if name == "write" else lambda: None
            return self.count(name, lambda: plain(where, *rest, **named), half)

        return call


def run_counted(words: list[str], directory: Path, printed: Path, number: int = 0, action: str = "kill") -> tuple[int, list[str]]:
    """Run a command in a forked process; return its exit code and the names of its calls.

    Its standard output and standard error go to files: `printed` with the suffixes `.out` and `.err`; its calls to `.calls`.
    """
    child = os.fork()
    if not child:
        code = 99
        try:
            for descriptor, suffix in ((1, ".out"), (2, ".err")):
                os.dup2(os.open(f"{printed}{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            signal.signal(signal.SIGINT, signal.default_int_handler)  # also if pytest works in the background
            calls = SystemCalls(directory, number, action)
            calls.install()
            try:
                main(words)
            except SystemExit as done:
                code = int(done.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
            Path(f"{printed}.calls").write_text("\n".join(calls.names))
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    names = Path(f"{printed}.calls")
    return code, names.read_text().split() if names.exists() else []
