"""The manifest of an evaluation, validated and parsed; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from robustbench_fgsm.engine.dataset_pieces import Pieces
from robustbench_fgsm.errors import RfgsmError, RunError, describe_error
from robustbench_fgsm.files.regular_files import is_present
from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.runs.directory import MANIFEST_FILE, is_new_run, manifest_command, read_manifest_json
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import AttackSpec

if TYPE_CHECKING:
    from robustbench_fgsm.engine.plan import Plan

RUN_SCHEMA = "rfgsm.run/1"
REQUIRED_KEYS = {"model": ("spec", "weights", "sha256"), "data": ("spec", "fingerprint", "classes")}
"""Keys that are read after the manifest is validated."""

EvaluationCommand = Literal["evaluate", "sweep"]


@dataclass(frozen=True)
class EvaluationManifest:
    """The validated manifest of an evaluation, with its parts parsed."""

    directory: Path
    document: dict[str, Any]
    command: EvaluationCommand
    specs: tuple[AttackSpec, ...]
    pieces: Pieces
    max_bad: int
    checks: CheckOptions
    thresholds: dict[str, float | None]

    __repr__ = short_repr

    @property
    def plan(self) -> Plan:
        """Return the execution plan; raise RunError if it is not as rfgsm writes it."""
        with translate_manifest_errors(self.directory):
            return plan_from_manifest(self.document)


def read_evaluation_manifest(directory: Path) -> EvaluationManifest:
    """Return the manifest of a run of `rfgsm evaluate` or `sweep`; raise RunError for any other directory."""
    document = require_manifest(directory)
    if document.get("schema") != RUN_SCHEMA:
        raise RunError(
            f"run must be one of `rfgsm evaluate` or `rfgsm sweep`, which say what became of each image, got {directory} "
            f"of {manifest_command(document)}: choose another directory"
        )
    with translate_manifest_errors(directory):
        check_required_keys(document, REQUIRED_KEYS)
        if (command := document["command"]) not in get_args(EvaluationCommand):
            raise ValueError(f"command {command!r}")
        if min(document["data"]["n"], document["piece_size"]) < 1:
            raise ValueError("no image, or no image in a piece")
        return EvaluationManifest(
            directory,
            document,
            cast("EvaluationCommand", command),
            tuple(AttackSpec.from_dict(attack, attack["epsilons"]) for attack in document["attacks"]),
            Pieces(int(document["data"]["n"]), int(document["piece_size"])),
            int(document["max_bad"]),
            checks=CheckOptions.from_dict(document.get("checks")),
            thresholds={name: None if value is None else float(value) for name, value in document.get("asked", {}).items()},
        )


def check_required_keys(document: Mapping[str, Any], required: Mapping[str, Sequence[str]]) -> None:
    """Raise KeyError, TypeError or ValueError unless each part of a document has its required keys, none of them null."""
    for part, keys in required.items():
        for key in keys:
            if document[part][key] is None:
                raise ValueError(f"no {part}.{key}")


@contextmanager
def translate_manifest_errors(directory: Path) -> Iterator[None]:
    """Raise a RunError if a manifest is not as rfgsm writes it."""
    with translate_document_errors(directory / MANIFEST_FILE):
        yield


@contextmanager
def translate_document_errors(source: Path) -> Iterator[None]:
    """Raise a RunError, which names the source, if a document that was read from it is not as rfgsm writes it."""
    try:
        yield
    except (RfgsmError, OSError):
        raise
    except Exception as error:  # a field of another type or sign may cause any error
        raise RunError(
            f"{source} must be as rfgsm wrote it, got one that cannot be read ({describe_error(error)}): choose another directory"
        ) from error


def require_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of any run; raise RunError if the directory has none."""
    if not is_present(directory / MANIFEST_FILE):
        raise RunError(f"run must be a directory that --out made, got {directory} without {MANIFEST_FILE}: check the path")
    return read_manifest_json(directory)


def read_recorded_plan(directory: Path) -> Plan | None:
    """Return the plan in a directory's manifest, or None for a new directory."""
    if is_new_run(directory):
        return None
    with translate_manifest_errors(directory):
        return plan_from_manifest(read_manifest_json(directory))


def plan_from_manifest(document: Mapping[str, Any]) -> Plan:
    """Return the execution plan in a manifest; a manifest without a plan has level none."""
    from robustbench_fgsm.engine.plan import Plan

    size = document.get("batch_size") or (document.get("output") or {}).get("batch_size") or Plan.batch_size
    return Plan.from_dict(document.get("plan"), int(size))
