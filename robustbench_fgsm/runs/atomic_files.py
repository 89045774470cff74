"""Files and directories that are written whole or not at all, and JSON files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ResourceError, RunError


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document atomically; raise ResourceError, and keep the earlier file, if that fails."""
    write_bytes(file, json_bytes(document))


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document as it is written to a file."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file atomically; raise ResourceError, and keep the earlier file, if that fails."""
    with atomic_replace(file) as scratch:
        scratch.write_bytes(content)


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Give a temporary path for a file or directory, which is then flushed to disk and moved to `path`.

    Raises ResourceError, and keeps the earlier file or directory, if that fails.
    """
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            made = scratch / path.name
            yield made
            _flush_to_disk(made)
            if made.is_dir() and path.is_dir():  # one that is not empty cannot be replaced in one step
                path.replace(scratch / "before")
            made.replace(path)
            sync_directory(path.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def remove_temporary_files(directory: Path, *patterns: str) -> None:
    """Remove what `atomic_replace` left behind in a process that was killed, for paths of these patterns."""
    for pattern in patterns:
        for scratch in directory.glob(f".{pattern}.????????"):
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Raise a ResourceError about the path instead of an OSError."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path} must be writable, got {error.strerror or error}: free some space or choose another directory"
        ) from error


def _flush_to_disk(path: Path) -> None:
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    if path.is_dir():
        sync_directory(path)


def sync_directory(directory: Path) -> None:
    """Flush the names of a directory's files to disk."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raise RunError if the file holds anything else."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} must be JSON, got {error}: choose another directory") from error
    if not isinstance(document, dict):
        raise RunError(f"{file} must hold a JSON object, got {type(document).__name__}: choose another directory")
    return document
