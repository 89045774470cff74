"""Read run directories: their state, their result, and the outcomes of each image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.files.directory_lock import is_locked
from robustbench_fgsm.files.json_files import parse_json, read_json
from robustbench_fgsm.files.regular_files import is_directory, is_present, read_bytes
from robustbench_fgsm.runs.directory import MANIFEST_FILE, RESULT_FILE, TRAINING_LOG_FILE, manifest_command
from robustbench_fgsm.runs.ledger import Ledger
from robustbench_fgsm.runs.manifest import EvaluationManifest, read_evaluation_manifest, require_manifest, translate_manifest_errors
from robustbench_fgsm.runs.result_schema import read_result
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.training.recipe import CHECKS_PER_EPOCH

LEDGER_COMMANDS = ("evaluate", "sweep", "transfer")
"""Commands that record every finished piece in a ledger."""

MAX_LOG_BYTES = 2**26

MAX_DEPTH = 4
"""Levels of directories in which runs are searched."""


@dataclass(frozen=True)
class SavedRun:
    """A run of `rfgsm evaluate` or `sweep` in its directory.

    Its state is `complete`, `invalid`, `started` (a process works on it) or `interrupted`. Its result is None until it is finished.
    """

    manifest: EvaluationManifest
    state: str
    result: dict[str, Any] | None

    __repr__ = short_repr

    @cached_property
    def ledger(self) -> Ledger:
        """Return all finished pieces, whose hashes are verified."""
        return Ledger.of_directory(self.manifest.directory)

    def records(self) -> Iterator[PieceRecord]:
        """Return the finished pieces, with the outcomes of each image, in ascending order."""
        return self.ledger.records()


def read_saved_run(directory: Path | str) -> SavedRun:
    """Return the run of `rfgsm evaluate` or `sweep` in a directory; raise RunError for any other directory."""
    place = Path(directory)
    recorded = read_evaluation_manifest(place)
    return SavedRun(recorded, read_run_state(place), read_result(place / RESULT_FILE) if is_present(place / RESULT_FILE) else None)


def read_run_state(directory: Path) -> str:
    """Return the state of a run: `complete` or `invalid` by its result, else `started` if it is locked, or `interrupted`."""
    if is_present(directory / RESULT_FILE):
        return "invalid" if read_json(directory / RESULT_FILE).get("status") == "invalid" else "complete"
    return "started" if is_locked(directory) else "interrupted"


def find_runs(root: Path) -> list[Path]:
    """Return the run directories at or below a directory, sorted; raise RunError if it is not a directory."""
    if not is_directory(root):
        raise RunError(f"runs are listed below a directory, got {root}: check the path")
    return sorted(_runs_below(root, MAX_DEPTH))


def _runs_below(place: Path, depth: int) -> Iterator[Path]:
    if is_present(place / MANIFEST_FILE):
        yield place
        return
    if depth:
        try:
            children = [child for child in place.iterdir() if is_directory(child) and not child.name.startswith(".")]
        except PermissionError:
            return
        for child in children:
            yield from _runs_below(child, depth - 1)


def summarize_run(directory: Path) -> dict[str, Any]:
    """Return what a run is, and its progress, as JSON; raise RunError if the directory has no manifest."""
    manifest = require_manifest(directory)
    with translate_manifest_errors(directory):
        models = [manifest["model"]] if manifest.get("model") else manifest.get("models", [])
        return {
            "path": str(directory),
            "name": manifest.get("name"),
            "command": manifest_command(manifest),
            "state": read_run_state(directory),
            "model": ", ".join(dict.fromkeys(str(model["spec"]) for model in models if "spec" in model)) or None,
            "weights": (manifest.get("model") or {}).get("weights"),
            "data": (manifest.get("data") or {}).get("spec"),
            "n": (manifest.get("data") or {}).get("n"),
            "package": manifest.get("package") or (manifest.get("environment") or {}).get("package"),
            **read_run_progress(directory, manifest),
        }


def read_run_progress(directory: Path, manifest: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the number of all pieces, of finished pieces, and of damaged parts of the ledgers; None if a run has no pieces.

    The pieces of a training are quarters of an epoch.
    """
    kind = manifest_command(manifest)
    with translate_manifest_errors(directory):
        if kind == "train":
            return {
                "pieces": CHECKS_PER_EPOCH * int(manifest["recipe"]["epochs"]),
                "done": count_finished_quarters(directory),
                "damaged": None,
            }
        if kind in LEDGER_COMMANDS:
            ledger = Ledger.of_directory(directory)
            return {"pieces": len(ledger.schema.pieces), "done": ledger.num_finished, "damaged": ledger.damaged}
    return {"pieces": None, "done": None, "damaged": None}


def count_finished_quarters(directory: Path) -> int:
    """Return the number of finished quarters of an epoch, by the log of a training."""
    log = directory / TRAINING_LOG_FILE
    lines = read_bytes(log, MAX_LOG_BYTES).splitlines() if is_present(log) else []
    if not lines:
        return 0
    last = parse_json(lines[-1], log)
    return CHECKS_PER_EPOCH * (int(last["epoch"]) - 1) + int(last["quarter"])


def read_manifest_and_result(directory: Path) -> dict[str, Any]:
    """Return manifest and result as they are on disk; the result is None until the run is finished."""
    result = directory / RESULT_FILE
    return {"manifest": require_manifest(directory), "result": read_result(result) if is_present(result) else None}
