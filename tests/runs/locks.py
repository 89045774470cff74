"""Locks of a few tiny images, made by hand and by measuring."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.options import AttackOptions, RunOptions
from robustbench_fgsm.runs.lock_file import encode_lock
from robustbench_fgsm.runs.measure_lock import measure_lock
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, lock_records
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes

SPEC = AttackSpec((8 / 255,))
MODEL = {"spec": "net", "weights": "given", "parameters": 5, "sha256": "0" * 64}


def settings(classes: int = 3) -> dict[str, Any]:
    names = [f"class {label}" for label in range(classes)]
    return {"path": "here", "model": MODEL, "data": {"spec": "tiny", "classes": names}, "package": "0.1.0", "torch": "2.10.0"}


def outcomes(before: list[int], after: list[list[int]], labels: list[int] | None = None, **changes: Any) -> BatchOutcomes:
    """Outcomes of images whose labels are 0, 0, 1, 1, 2, 2, ..."""
    n, none = len(before), np.zeros(len(before), np.bool_)
    found = np.arange(n) // 2 if labels is None else np.array(labels)
    columns = {"targets": None, "zero_gradient": none, "nonfinite_gradient": none, "saturated": none} | changes
    return BatchOutcomes(np.arange(n), found, np.array(before), np.array(after), **columns)


def locked(found: BatchOutcomes, spec: AttackSpec = SPEC, hashes: list[int] | None = None, classes: int = 3) -> RobustnessLock:
    """The lock of one piece."""
    known = np.arange(len(found)) if hashes is None else np.array(hashes)
    return lock_records([PieceRecord(0, (found,), hashes=known)], settings(classes), [spec])


def measured(model: rf.Classifier, data: rf.Dataset, epsilon: float | str = "0.01,0.2", **options: Any) -> RobustnessLock:
    return measure_lock(model, data, AttackOptions(epsilon), RunOptions(**options))[0]


def shuffled(data: rf.Dataset) -> rf.ArrayDataset:
    """The images in another order."""
    (whole,) = data.batches(0, len(data), len(data))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(5))
    return rf.ArrayDataset(data.name, whole.images[order], whole.labels[order], data.classes)


def edit(lock: RobustnessLock, file: Path, change: Callable[[dict[str, Any]], object], *, sign: bool) -> Path:
    """Write a lock whose document was changed, with a checksum that fits if `sign`."""
    import hashlib

    document = json.loads(encode_lock(lock))
    expected = document.pop("checksum")
    change(document)
    if sign:
        expected = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps({"checksum": expected} | document), encoding="utf-8")
    return file
