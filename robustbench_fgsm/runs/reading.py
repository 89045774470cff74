"""Run directories read: what state they are in, what was measured, and what became of each image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ResourceError, RunError
from robustbench_fgsm.measure.pieces import PieceRecord
from robustbench_fgsm.runs.directory import MANIFEST, RESULT, manifest_in, read_json
from robustbench_fgsm.runs.kept import IMAGES, KeptImages, read_images
from robustbench_fgsm.runs.ledger import Ledger
from robustbench_fgsm.runs.lock import LOCK, locked
from robustbench_fgsm.runs.manifest import SCHEMA, Recorded, kind_of, read_manifest

DEEPEST = 4
"""Directories below the one that is listed in which a run is still found."""


@dataclass(frozen=True)
class ReadRun:
    """A run of `rfgsm evaluate` or `sweep` as it stands in its directory.

    state: `complete` or `invalid`, `started` where a process is at it, `interrupted` where none is. document: its
    result, None where there is none yet.
    """

    recorded: Recorded
    state: str
    document: dict[str, Any] | None

    @cached_property
    def ledger(self) -> Ledger:
        """All finished pieces; reading it verifies their hashes."""
        return Ledger(self.recorded.directory, len(self.recorded.pieces))

    def records(self) -> Iterator[PieceRecord]:
        """Finished pieces by ascending number: what became of each image."""
        return self.ledger.records()

    def images(self) -> KeptImages | None:
        """Example images that were kept; None where none were."""
        return read_images(self.recorded.directory / IMAGES)


def read_run(directory: Path | str) -> ReadRun:
    """The run in that directory; raises RunError where there is none, or it is none of evaluate or sweep."""
    place = Path(directory)
    recorded = read_manifest(place)
    return ReadRun(recorded, state_of(place), read_json(place / RESULT) if (place / RESULT).is_file() else None)


def state_of(directory: Path) -> str:
    """`complete` or `invalid`, as the result says; else `started` where a process works there, `interrupted` where none does."""
    if (directory / RESULT).is_file():
        return "invalid" if read_json(directory / RESULT).get("status") == "invalid" else "complete"
    return "started" if is_locked(directory) else "interrupted"


def is_locked(directory: Path) -> bool:
    """Whether a process works there."""
    if not (directory / LOCK).exists():
        return False
    try:
        with locked(directory):
            return False
    except ResourceError:
        return True


def find_runs(root: Path) -> list[Path]:
    """Run directories at or below that one, sorted; raises RunError where it is none."""
    if not root.is_dir():
        raise RunError(f"runs are listed below a directory, got {root}: check the path")
    return sorted(_below(root, DEEPEST))


def _below(place: Path, depth: int) -> Iterator[Path]:
    if (place / MANIFEST).is_file():
        yield place
        return
    if depth:
        try:
            children = [child for child in place.iterdir() if child.is_dir() and not child.name.startswith(".")]
        except PermissionError:
            return
        for child in children:
            yield from _below(child, depth - 1)


def _several(manifest: dict[str, Any]) -> str | None:
    """The models of a transfer by name; None where there are none."""
    return ", ".join(dict.fromkeys(str(model["spec"]) for model in manifest.get("models", []))) or None


def summary(directory: Path) -> dict[str, Any]:
    """What one run is and how far it has come, as JSON knows it; done is null where there are no records of pieces.

    Raises RunError where it is none.
    """
    if not (directory / MANIFEST).is_file():
        raise RunError(f"run must be a directory that --out made, got {directory} without {MANIFEST}: check the path")
    manifest = manifest_in(directory)
    found = {
        "path": str(directory),
        "command": kind_of(manifest),
        "state": state_of(directory),
        "model": (manifest.get("model") or {}).get("spec") or _several(manifest),
        "weights": (manifest.get("model") or {}).get("weights"),
        "data": (manifest.get("data") or {}).get("spec"),
        "n": (manifest.get("data") or {}).get("n"),
        "package": manifest.get("package") or (manifest.get("environment") or {}).get("package"),
        "pieces": None,
        "done": None,
        "damaged": None,
    }
    if manifest.get("schema") != SCHEMA:
        return found
    ledger = read_run(directory).ledger
    pieces = len(read_manifest(directory).pieces)
    return found | {"pieces": pieces, "done": ledger.finished, "damaged": ledger.damaged}
