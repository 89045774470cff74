"""A run directory: the settings it was made with, and its result; written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ResourceError, RunError

MANIFEST = "manifest.json"
RESULT = "result.json"


def open_run(directory: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Make the directory a run with these settings, and return its result where it already has one.

    A new or empty directory is created with its manifest. Raises RunError, naming what differs, where the directory
    holds a run with other settings or anything else, and ResourceError where it cannot be written.
    """
    settings = json.loads(json.dumps(settings))
    with _usable(directory):
        if directory.exists() and not directory.is_dir():
            raise RunError(f"--out must be a directory, got {directory}, which is a file: choose another")
        empty = not directory.exists() or not any(directory.iterdir())
    if empty:
        write_json(directory / MANIFEST, settings)
        return None
    if not (directory / MANIFEST).is_file():
        raise RunError(
            f"--out must be new, empty or a run, got {directory} with other files in it: choose another directory"
        )
    found = _read_json(directory / MANIFEST)
    if found != settings:
        there, now = dict(_flatten(found)), dict(_flatten(settings))
        keys = sorted(key for key in there.keys() | now.keys() if there.get(key) != now.get(key))
        changes = "; ".join(f"{key} {_brief(there.get(key))} there, {_brief(now.get(key))} now" for key in keys)
        raise RunError(
            f"--out must hold a run with the same settings, got {directory} with {changes}: choose another directory"
        )
    return _read_json(directory / RESULT) if (directory / RESULT).is_file() else None


def cached_result(
    directory: Path,
    settings: Mapping[str, Any],
    measure: Callable[[], dict[str, Any]],
    judge: Callable[[dict[str, Any]], dict[str, Any]] = lambda document: document,
) -> dict[str, Any]:
    """The result that the directory holds for these settings, or else the one measured now and kept there.

    judge: what is said of a measured document without measuring, such as gates; the directory keeps the last judgement.
    Raises as `open_run`, `measure` and `judge` do.
    """
    found = open_run(directory, settings)
    document = judge(measure() if found is None else found)
    if document != found:
        write_json(directory / RESULT, document)
    return document


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write one JSON document atomically: a temporary file beside it, flushed to disk, then moved into place.

    Raises ResourceError, leaving what was there, where it cannot be written.
    """
    write_bytes(file, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file atomically, as `write_json` does and with its errors."""
    with _usable(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_directory(file.parent)


@contextmanager
def _usable(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{place} must be writable, got {error.strerror}: free some space or choose another directory"
        ) from error


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} must be JSON, got {error}: choose another directory") from error
    if not isinstance(document, dict):
        raise RunError(f"{file} must hold a JSON object, got {type(document).__name__}: choose another directory")
    return document


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"
