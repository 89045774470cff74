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

MANIFEST = "manifest.json"
RESULT = "result.json"

KINDS: Mapping[str, type] = {
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
    if is_new(directory):
        write_json(directory / MANIFEST, settings)
        return None
    check_same(directory, manifest_in(directory), settings)
    return read_json(directory / RESULT) if (directory / RESULT).is_file() else None


def is_new(directory: Path) -> bool:
    """Whether there is no such directory, or nothing in it but hidden files, such as a lock.

    Raises RunError where it is a file, or holds other files than a run's, and ResourceError where it cannot be read.
    """
    with usable(directory):
        if directory.exists() and not directory.is_dir():
            raise RunError(f"--out must be a directory, got {directory}, which is a file: choose another")
        if not directory.exists() or all(place.name.startswith(".") for place in directory.iterdir()):
            return True
    if not (directory / MANIFEST).is_file():
        raise RunError(
            f"--out must be new, empty or a run, got {directory} with other files in it: choose another directory"
        )
    return False


def check_same(directory: Path, found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise RunError, naming what differs, unless the settings found in the directory are those given, both as JSON."""
    if found == settings:
        return
    changes = "; ".join(f"{key} {there} there, {now} now" for key, there, now in differences(found, settings))
    raise RunError(
        f"--out must hold a run with the same settings, got {directory} with {changes}: choose another directory"
    )


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Keys at which two JSON objects differ, dotted and sorted, with both values in brief."""
    ours, theirs = dict(_flatten(left)), dict(_flatten(right))
    keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    return [(key, _brief(ours.get(key)), _brief(theirs.get(key))) for key in keys]


def cached_result(
    directory: Path,
    settings: Mapping[str, Any],
    measure: Callable[[], dict[str, Any]],
    judge: Callable[[dict[str, Any]], dict[str, Any]] = lambda document: document,
) -> dict[str, Any]:
    """The result that the directory holds for these settings, or else the one measured now and kept there.

    judge: what is said of a measured document without measuring, such as gates; the directory keeps the last judgement.
    One process at a time measures. Raises as `open_run`, `locked`, `measure` and `judge` do.
    """
    # which takes from this module

    known = not is_new(directory) and open_run(directory, settings) is not None
    with nullcontext() if known else locked(directory):
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
    with replacing(file) as scratch:
        scratch.write_bytes(content)


@contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """A path near `place` at which to make a file or a directory, which then, flushed to disk, takes its place.

    Raises ResourceError, leaving what was there, where it cannot be written.
    """
    with usable(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
        try:
            made = scratch / place.name
            yield made
            _sync(made)
            if made.is_dir() and place.is_dir():  # one that is not empty cannot be replaced in one step
                place.replace(scratch / "before")
            made.replace(place)
            sync_directory(place.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def sweep_up(directory: Path, *patterns: str) -> None:
    """Remove what `replacing` left behind, for places of these patterns, in a process that was killed."""
    for pattern in patterns:
        for scratch in directory.glob(f".{pattern}.????????"):
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def usable(place: Path) -> Iterator[None]:
    """Turn an OSError about the place into a ResourceError."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{place} must be writable, got {error.strerror or error}: free some space or choose another directory"
        ) from error


def _sync(made: Path) -> None:
    for file in made.iterdir() if made.is_dir() else [made]:
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    if made.is_dir():
        sync_directory(made)


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


def manifest_in(directory: Path) -> dict[str, Any]:
    """The manifest in the directory; raises RunError where there is none, or something stands in it that none has there."""
    document = read_json(directory / MANIFEST)
    for place, kind in KINDS.items():
        found: Any = document
        for key in place.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None and not isinstance(found, kind):
            raise RunError(
                f"{directory / MANIFEST} must be as rfgsm wrote it, got {place} {_brief(found)}: choose another directory"
            )
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


LOCK = ".lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make the directory where it is new, and keep other processes out of it; the system unlocks it when a process dies.

    Raises ResourceError at once where another process is in it.
    """
    with usable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK, timeout=0)
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
