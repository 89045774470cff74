"""A finished run as reports take it: its document, and where they were kept, its images one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.report.sheets import Document
from robustbench_fgsm.runs.directory import MANIFEST, RESULT, read_json

Classes = NDArray[np.int64]
Pixels = NDArray[np.float32]

READABLE = ("rfgsm.evaluation/1", "rfgsm.sweep/1", "rfgsm.comparison/1")


@dataclass(frozen=True)
class Samples:
    """What one attack did to each of N images at each of E budgets.

    ids, labels, before: (N,); before: the prediction. after: (E, N), in the order of the document's budgets.
    """

    ids: Classes
    labels: Classes
    before: Classes
    after: Classes


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
    """One run. settings: its manifest, if it has one. samples: by targeting rule, none where no ledger was kept."""

    name: str
    document: Document
    settings: Document | None = None
    samples: Mapping[str, Samples] = field(default_factory=dict)
    gallery: tuple[KeptImage, ...] = ()


def read_run(place: Path) -> Run:
    """The run in a directory, or the one whose `result.json` that is.

    Raises RunError where there is no result, or one that reports do not show.
    """
    file = place if place.is_file() else place / RESULT
    if not file.is_file():
        raise RunError(
            f"a run must be a directory with {RESULT} in it, or such a file, got {place}: make one with --out"
        )
    document = read_json(file)
    if document.get("schema") not in READABLE:
        raise RunError(f"a run must be one of {', '.join(READABLE)}, got {document.get('schema')} in {file}")
    manifest = file.parent / MANIFEST
    settings = read_json(manifest) if manifest.is_file() else None
    name = file.parent.resolve().name if file.name == RESULT else file.stem
    return Run(name, document, settings, read_samples(file.parent), read_gallery(file.parent))


def read_samples(directory: Path) -> dict[str, Samples]:  # noqa: ARG001  (runs keep no ledger yet)
    """The ledger of a run by targeting rule, or nothing where it kept none."""
    return {}


def read_gallery(directory: Path) -> tuple[KeptImage, ...]:  # noqa: ARG001  (runs keep no images yet)
    """The images that a run kept, or nothing where it kept none."""
    return ()
