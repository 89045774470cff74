"""The manifest of an evaluation: its settings and its environment, written and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.engine.dataset_pieces import Pieces, piece_size
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import RfgsmError, RunError, describe_error
from robustbench_fgsm.evaluation.checks import NO_CHECKS
from robustbench_fgsm.files.regular_files import is_present
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import CheckOptions
from robustbench_fgsm.runs.directory import MANIFEST_FILE, is_new_run, manifest_command, read_manifest_json
from robustbench_fgsm.runs.settings import run_settings
from robustbench_fgsm.spec import AttackSpec

RUN_SCHEMA = "rfgsm.run/1"
REQUIRED_KEYS = {"model": ("spec", "weights", "sha256"), "data": ("spec", "fingerprint", "classes")}
"""Keys that are read after the manifest is validated."""

EvaluationCommand = Literal["evaluate", "sweep"]


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation or a sweep: its command, classifier, images and attacks, under an execution plan."""

    command: EvaluationCommand
    classifier: Classifier
    data: Dataset
    specs: tuple[AttackSpec, ...]
    plan: Plan
    max_bad: int = 0
    checks: CheckOptions = NO_CHECKS
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    """Thresholds on the result, which `rfgsm runs resume` applies again. They may change."""
    preflight_warnings: tuple[str, ...] | None = None
    """Warnings of the preflight; None if it has not run."""

    @property
    def pieces(self) -> Pieces:
        """Return how the images are divided into pieces."""
        return Pieces(len(self.data), piece_size(self.plan, self.classifier.device))

    def settings(self) -> dict[str, Any]:
        """Return the settings, as JSON."""
        return run_settings(
            self.command,
            self.classifier,
            self.data,
            self.specs,
            max_bad=self.max_bad,
            plan=self.plan,
            piece_size=self.pieces.size,
            **self._checks_setting(),
        )

    def _checks_setting(self) -> dict[str, Any]:
        return {"checks": self.checks.to_dict()} if self.checks.sample_size else {}

    def to_manifest(self) -> dict[str, Any]:
        """Return the settings, the thresholds, and the environment in which the run started."""
        return {
            "schema": RUN_SCHEMA,
            **self.settings(),
            "asked": dict(self.thresholds),
            "environment": describe_environment(self.classifier.device),
        }


@dataclass(frozen=True)
class EvaluationManifest:
    """The validated manifest of an evaluation, with its parts parsed."""

    directory: Path
    document: dict[str, Any]
    command: EvaluationCommand
    specs: tuple[AttackSpec, ...]
    plan: Plan
    pieces: Pieces
    max_bad: int
    checks: CheckOptions
    thresholds: dict[str, float | None]

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of labels."""
        return tuple(self.document["data"]["classes"])


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
            Plan.from_dict(document.get("plan"), int(document["batch_size"])),
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
    except Exception as error:  # whatever a field of another type or sign leads to
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
    size = document.get("batch_size") or (document.get("output") or {}).get("batch_size") or Plan.batch_size
    return Plan.from_dict(document.get("plan"), int(size))
