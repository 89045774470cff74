"""A finished run for a report: its document, its manifest and its example images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.errors import RunError, SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.evaluation.result_protocol import ReportedResult
from robustbench_fgsm.files.json_files import read_json
from robustbench_fgsm.files.regular_files import is_directory, is_present
from robustbench_fgsm.printable_text import printable_document
from robustbench_fgsm.runs.directory import ATTACK_SCHEMA, MANIFEST_FILE, RESULT_FILE
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE, read_example_images
from robustbench_fgsm.runs.manifest import read_evaluation_manifest
from robustbench_fgsm.runs.result_schema import check_result
from robustbench_fgsm.short_repr import short_repr

ImageArray = NDArray[np.float32]

EVALUATION_SCHEMAS = ("rfgsm.evaluation/1", "rfgsm.sweep/1", "rfgsm.comparison/1", ATTACK_SCHEMA)
TRANSFER_SCHEMA = "rfgsm.transfer/1"
TRAINING_SCHEMA = "rfgsm.training/1"
VERIFICATION_SCHEMA = "rfgsm.verification/2"
REPORTED_SCHEMAS = (*EVALUATION_SCHEMAS, TRANSFER_SCHEMA, TRAINING_SCHEMA, VERIFICATION_SCHEMA)
"""Schemas of the documents that have a page with figures, and a figure."""

GATE_SCHEMA = "rfgsm.gate/1"
SUMMARY_SCHEMAS = (
    GATE_SCHEMA,
    "rfgsm.gate-plan/1",
    "rfgsm.locked/1",
    "rfgsm.explanation/1",
    "rfgsm.benchmark/1",
    "rfgsm.attack-check/1",
)
"""Schemas of the documents whose page is their summary."""

PAGE_SCHEMAS = (*REPORTED_SCHEMAS, *SUMMARY_SCHEMAS)

COMMANDS = {"evaluation": "evaluate", "comparison": "compare", "training": "train", "verification": "verify"} | {
    "gate-plan": "gate --plan",
    "locked": "lock",
    "explanation": "explain",
    "attack-check": "attack --check",
    "run-shown": "runs show",
    "runs": "runs list",
}
"""Command of each kind of document, where its name is another."""


@dataclass(frozen=True)
class ExampleImage:
    """One image before and after an attack, both (C, H, W) in pixel space, with the confidence of each prediction.

    targeted: the targeting rule of the attack.
    """

    id: int
    label: int
    prediction_before: int
    prediction_after: int
    confidence_before: float
    confidence_after: float
    epsilon: float
    clean: ImageArray
    adversarial: ImageArray
    targeted: str = "none"

    __repr__ = short_repr


@dataclass(frozen=True, repr=False)
class LoadedRun(ReportedResult):
    """One finished run; all text is printable.

    Attributes:
        name: name of the run.
        document: its result.
        manifest: its settings; None if it has none.
        example_images: images that the run kept.
        directory: its directory; None if it has none.
        date: when its result was written, in words.
    """

    name: str
    document: Document
    manifest: Document | None = None
    example_images: tuple[ExampleImage, ...] = ()
    directory: Path | None = None
    date: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "document", "manifest"):
            object.__setattr__(self, name, printable_document(getattr(self, name)))

    def to_dict(self) -> Document:
        """Return the JSON document of the run."""
        return self.document


def schema_kind(schema: str) -> str:
    """Return the kind of a document: `gate-plan` of `rfgsm.gate-plan/1`."""
    return schema.removeprefix("rfgsm.").partition("/")[0]


def command_of(schema: str) -> str:
    """Return the command that prints documents of a schema."""
    kind = schema_kind(schema)
    return COMMANDS.get(kind, kind)


def check_schema(schema: str, schemas: Sequence[str], place: Path | str) -> None:
    """Raise RunError, with what the document is good for, if its schema is not one of the accepted ones."""
    if schema in schemas:
        return
    remedies = {"lock": "pass it to rfgsm gate as --baseline"}
    known = "name the directory of a run" if schema not in PAGE_SCHEMAS else f"make its page: rfgsm report {place}"
    remedy = remedies.get(schema_kind(schema), known)
    expected = ", ".join(map(command_of, schemas))
    raise RunError(f"a run must be of {expected}, got one of {command_of(schema)} in {place}: {remedy}")


def load_run(path: Path | str, schemas: Sequence[str] = PAGE_SCHEMAS) -> LoadedRun:
    """Return the finished run in a directory, or of a `result.json`, with the example images that it kept.

    Args:
        path: directory that `--out` or `save` made, or a file with a document.
        schemas: schemas of the documents that are accepted; by default all that have a page.

    Returns:
        The run, with `plot`, `report` and `to_dict`.

    Raises:
        RunError: if there is no result, or if its schema is not accepted.
    """
    path = Path(path)
    file = path / RESULT_FILE if is_directory(path) else path
    if not is_present(file):
        raise RunError(f"a run must be a directory with {RESULT_FILE} in it, or a file like it, got {path}: make one with --out")
    found = read_json(file)
    check_schema(str(found.get("schema")), schemas, path)
    document = check_result(found, file)
    manifest = file.parent / MANIFEST_FILE
    settings = read_json(manifest) if is_present(manifest) else None
    directory_name = file.parent.resolve().name if file.name == RESULT_FILE else file.stem
    name = str((settings or {}).get("name") or directory_name)
    kept = load_example_images(file.parent, document) if document["schema"] in EVALUATION_SCHEMAS else ()
    return LoadedRun(name, document, settings, kept, file.parent, date_text(file.stat().st_mtime))


def date_text(seconds: float) -> str:
    """Return a moment as a page shows it; seconds: since 1970."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def as_loaded_run(run: Path | str | ReportedResult) -> LoadedRun:
    """Return a run in a directory, in a file, or a result in memory, as a run; raise as `load_run`."""
    if isinstance(run, LoadedRun):
        return run
    if isinstance(run, Path | str):
        return load_run(run)
    if not isinstance(run, ReportedResult):
        raise SettingError(
            f"run must be a directory or a result with a page, got {type(run).__name__}: pass one that evaluate returns"
        )
    return LoadedRun("result", run.to_dict())


def documents_by_name(runs: Sequence[LoadedRun]) -> dict[str, Document]:
    """Return the documents of runs by their names; the second run of one name gets the number 2."""
    found: dict[str, Document] = {}
    seen: Counter[str] = Counter()
    for run in runs:
        seen[run.name] += 1
        found[run.name if seen[run.name] == 1 else f"{run.name} {seen[run.name]}"] = run.document
    return found


def load_example_images(directory: Path, document: Document) -> tuple[ExampleImage, ...]:
    """Return the example images that a run of `evaluate`, `sweep` or `attack` kept in its directory, if any."""
    kept = read_example_images(directory / EXAMPLE_IMAGES_FILE)
    if kept is None:
        return ()
    if document["schema"] == ATTACK_SCHEMA:
        rules = [str(document["attack"]["targeted"])]
    else:
        rules = [str(spec.target) for spec in read_evaluation_manifest(directory).specs]
    classes = kept.labels, kept.predictions_before, kept.predictions_after
    numbers = (kept.ids, *classes, kept.confidences_before, kept.confidences_after, kept.epsilons)
    columns: list[Any] = [*(column.tolist() for column in numbers), kept.clean, kept.adversarial]
    columns.append([rules[attack] for attack in kept.attacks.tolist()])
    return tuple(ExampleImage(*row) for row in zip(*columns, strict=True))
