"""Run directories read: what state they are in, what was measured, and what became of each image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from robustbench_fgsm.engine.pieces import PieceRecord, Pieces
from robustbench_fgsm.errors import ResourceError, RunError
from robustbench_fgsm.runs.directory import LOCK, MANIFEST, RESULT, locked, read_json
from robustbench_fgsm.runs.example_images import IMAGES, KeptImages, read_images
from robustbench_fgsm.runs.ledger import Ledger
from robustbench_fgsm.runs.manifest import Recorded, kind_of, open_manifest, read_manifest, readable
from robustbench_fgsm.runs.train import LOG
from robustbench_fgsm.training.recipe import CHECKS

LEDGERS = ("evaluate", "sweep", "transfer")
"""Commands that record every finished piece in a ledger."""

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
    manifest = open_manifest(directory)
    return {
        "path": str(directory),
        "command": kind_of(manifest),
        "state": state_of(directory),
        "model": (manifest.get("model") or {}).get("spec") or _several(manifest),
        "weights": (manifest.get("model") or {}).get("weights"),
        "data": (manifest.get("data") or {}).get("spec"),
        "n": (manifest.get("data") or {}).get("n"),
        "package": manifest.get("package") or (manifest.get("environment") or {}).get("package"),
        **progress_of(directory, manifest),
    }


def progress_of(directory: Path, manifest: Mapping[str, Any]) -> dict[str, int | None]:
    """Pieces in all, those that are done, and damaged parts of the ledgers; null where the run records none.

    The pieces of a training are quarters of an epoch. Raises RunError for a manifest or a log that cannot be read.
    """
    kind = kind_of(manifest)
    with readable(directory):
        if kind == "train":
            return {
                "pieces": CHECKS * int(manifest["recipe"]["epochs"]),
                "done": quarters_done(directory),
                "damaged": None,
            }
        if kind in LEDGERS:
            pieces = len(Pieces(int(manifest["data"]["n"]), int(manifest["piece_size"])))
            ledger = Ledger(directory, pieces)
            return {"pieces": pieces, "done": ledger.finished, "damaged": ledger.damaged}
    return {"pieces": None, "done": None, "damaged": None}


def quarters_done(directory: Path) -> int:
    """Quarters of an epoch that a training has behind it, by its log."""
    if not (directory / LOG).is_file():
        return 0
    last = json.loads((directory / LOG).read_text(encoding="utf-8").splitlines()[-1])
    return CHECKS * (int(last["epoch"]) - 1) + int(last["quarter"])


def contents(directory: Path) -> dict[str, Any]:
    """Manifest and result as they are on disk, the latter null where there is none yet."""
    result = directory / RESULT
    return {"manifest": open_manifest(directory), "result": read_json(result) if result.is_file() else None}
