"""A finished run as reports take it: its document, and images that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.transfer import SCHEMA
from robustbench_fgsm.runs.directory import MANIFEST, RESULT, read_json
from robustbench_fgsm.runs.example_images import IMAGES, read_images
from robustbench_fgsm.runs.manifest import read_manifest

Pixels = NDArray[np.float32]

READABLE = ("rfgsm.evaluation/1", "rfgsm.sweep/1", "rfgsm.comparison/1")
TRANSFER = SCHEMA
TRAINING = "rfgsm.training/1"
SHOWN = (*READABLE, TRANSFER, TRAINING)
"""What has a page and a figure: a transfer and a training have their own."""


@dataclass(frozen=True)
class KeptImage:
    """One image before and after an attack, both (C, H, W) in pixel space; confidences are those of the predictions.

    targeted: the attack's rule, by which it is found among several of a sweep.
    """

    id: int
    label: int
    before: int
    after: int
    confidence_before: float
    confidence_after: float
    epsilon: float
    clean: Pixels
    adversarial: Pixels
    targeted: str = "none"


@dataclass(frozen=True)
class Run:
    """One run. settings: its manifest, if it has one. gallery: images that it kept. directory: where it stands, if it does."""

    name: str
    document: Document
    settings: Document | None = None
    gallery: tuple[KeptImage, ...] = ()
    directory: Path | None = None


def read_run(place: Path, schemas: Sequence[str] = READABLE) -> Run:
    """The run in a directory, or the one whose `result.json` that is; schemas: of documents that will do.

    Raises RunError where there is no result, or one that reports do not show.
    """
    file = place if place.is_file() else place / RESULT
    if not file.is_file():
        raise RunError(
            f"a run must be a directory with {RESULT} in it, or such a file, got {place}: make one with --out"
        )
    document = read_json(file)
    if document.get("schema") not in schemas:
        raise RunError(f"a run must be one of {', '.join(schemas)}, got {document.get('schema')} in {file}")
    manifest = file.parent / MANIFEST
    settings = read_json(manifest) if manifest.is_file() else None
    name = file.parent.resolve().name if file.name == RESULT else file.stem
    kept = read_gallery(file.parent) if document["schema"] in READABLE else ()
    return Run(name, document, settings, kept, file.parent)


def read_gallery(directory: Path) -> tuple[KeptImage, ...]:
    """The images that a run of `evaluate` or `sweep` kept in its directory, or nothing where it kept none."""
    kept = read_images(directory / IMAGES)
    if kept is None:
        return ()
    rules = [str(spec.target) for spec in read_manifest(directory).specs]
    return tuple(
        KeptImage(
            int(kept.ids[row]),
            int(kept.labels[row]),
            int(kept.predictions_before[row]),
            int(kept.predictions_after[row]),
            float(kept.confidences_before[row]),
            float(kept.confidences_after[row]),
            float(kept.epsilons[row]),
            kept.clean[row].numpy(),
            kept.adversarial[row].numpy(),
            rules[int(kept.attacks[row])],
        )
        for row in range(len(kept))
    )
