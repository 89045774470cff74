"""A run directory: the settings it was made with, and its result; written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from robustbench_fgsm.errors import ResourceError, RunError

MANIFEST_FILE = "manifest.json"
RESULT_FILE = "result.json"

MANIFEST_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("model", "model.settings", "data", "data.settings", "attack", "output"), dict),
    **dict.fromkeys(("plan", "environment", "seconds"), dict),
    **dict.fromkeys(("models", "data.classes", "attacks", "files"), list),
    **dict.fromkeys(("command", "model.spec", "model.weights", "data.spec", "attack.loss"), str),
    **dict.fromkeys(("data.n", "batch_size", "piece_size", "output.batch_size"), int),
    "seconds.total": float,
}
"""What stands at some places of a manifest, where there is anything."""


def open_run(directory: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Make the directory a run with these settings, and return its result where it already has one.

    A new or empty directory is created with its manifest. Raises RunError, naming what differs, where the directory
    holds a run with other settings or anything else, and ResourceError where it cannot be written.
    """
    settings = json.loads(json.dumps(settings))
    if is_new_run(directory):
        write_json(directory / MANIFEST_FILE, settings)
        return None
    check_same_settings(directory, read_manifest_json(directory), settings)
    return read_json(directory / RESULT_FILE) if (directory / RESULT_FILE).is_file() else None


def is_new_run(directory: Path) -> bool:
    """Whether there is no such directory, or nothing in it but hidden files, such as a lock.

    Raises RunError where it is a file, or holds other files than a run's, and ResourceError where it cannot be read.
    """
    with translate_os_errors(directory):
        if directory.exists() and not directory.is_dir():
            raise RunError(f"--out must be a directory, got {directory}, which is a file: choose another")
        if not directory.exists() or all(place.name.startswith(".") for place in directory.iterdir()):
            return True
    if not (directory / MANIFEST_FILE).is_file():
        raise RunError(f"--out must be new, empty or a run, got {directory} with other files in it: choose another directory")
    return False


def check_same_settings(directory: Path, recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise RunError, naming what differs, unless the settings found in the directory are those given, both as JSON."""
    if recorded == settings:
        return
    changes = "; ".join(f"{key} {there} there, {now} now" for key, there, now in json_differences(recorded, settings))
    raise RunError(f"--out must hold a run with the same settings, got {directory} with {changes}: choose another directory")


def json_differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Keys at which two JSON objects differ, dotted and sorted, with both values in brief."""
    ours, theirs = dict(_flatten(left)), dict(_flatten(right))
    keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    return [(key, _truncated_json(ours.get(key)), _truncated_json(theirs.get(key))) for key in keys]


def cached_result(
    directory: Path,
    settings: Mapping[str, Any],
    measure: Callable[[], dict[str, Any]],
    apply_thresholds: Callable[[dict[str, Any]], dict[str, Any]] = lambda document: document,
) -> dict[str, Any]:
    """The result that the directory holds for these settings, or else the one measured now and kept there.

    judge: what is said of a measured document without measuring, such as gates; the directory keeps the last judgement.
    One process at a time measures. Raises as `open_run`, `locked`, `measure` and `judge` do.
    """
    # which takes from this module

    known = not is_new_run(directory) and open_run(directory, settings) is not None
    with nullcontext() if known else lock_directory(directory):
        found = open_run(directory, settings)
        document = apply_thresholds(measure() if found is None else found)
        if document != found:
            write_json(directory / RESULT_FILE, document)
    return document


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write one JSON document atomically: a temporary file beside it, flushed to disk, then moved into place.

    Raises ResourceError, leaving what was there, where it cannot be written.
    """
    write_bytes(file, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file atomically, as `write_json` does and with its errors."""
    with atomic_replace(file) as scratch:
        scratch.write_bytes(content)


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """A path near `place` at which to make a file or a directory, which then, flushed to disk, takes its place.

    Raises ResourceError, leaving what was there, where it cannot be written.
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
    """Remove what `replacing` left behind, for places of these patterns, in a process that was killed."""
    for pattern in patterns:
        for scratch in directory.glob(f".{pattern}.????????"):
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about the place into a ResourceError."""
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
    """Make sure that names made or replaced in it are on the disk."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; raises RunError where there is none."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} must be JSON, got {error}: choose another directory") from error
    if not isinstance(document, dict):
        raise RunError(f"{file} must hold a JSON object, got {type(document).__name__}: choose another directory")
    return document


def read_manifest_json(directory: Path) -> dict[str, Any]:
    """The manifest in the directory; raises RunError where there is none, or something stands in it that none has there."""
    document = read_json(directory / MANIFEST_FILE)
    for place, kind in MANIFEST_TYPES.items():
        found: Any = document
        for key in place.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None and not isinstance(found, kind):
            raise RunError(
                f"{directory / MANIFEST_FILE} must be as rfgsm wrote it, got {place} {_truncated_json(found)}: "
                "choose another directory"
            )
    return document


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _truncated_json(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"


LOCK_FILE = ".lock"


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Make the directory where it is new, and keep other processes out of it; the system unlocks it when a process dies.

    Raises ResourceError at once where another process is in it.
    """
    with translate_os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ResourceError(
                f"{directory} must be used by one process at a time, got a second one: wait, or choose another"
            ) from error
    try:
        yield
    finally:
        lock.release()
