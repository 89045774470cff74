"""What a gate needs of a finished run, image by image: the content of `robustness.lock`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.errors import DataError, InvalidRunError, RunError
from robustbench_fgsm.evaluation.document import WARNING_SHARE, Document
from robustbench_fgsm.runs.read import SavedRun
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.repeated_images import find_repeats
from robustbench_fgsm.stats.tally import MAX_BUDGETS, BatchOutcomes

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

MAX_DIGESTS = 100
"""Most hashes of classes: of more classes, several consecutive ones have one hash."""


@dataclass(frozen=True)
class LockedAttack:
    """Outcomes of one attack at E budgets on N images, in the order of the lock; row 0 is before the attack.

    right: (E + 1, N) bool, the prediction is the label. close: (E + 1, N) bool, rounding could change the prediction. distances:
    (N,) positions in `distance_levels`; None if they are not measured. right_stable, distances_stable: with exact gradients on
    saturated images; of a lock that exceeds the saturated share they equal `right` and `distances`, which no gate would use.
    """

    spec: AttackSpec
    right: Flags
    right_stable: Flags
    close: Flags
    distances: Integers | None = None
    distances_stable: Integers | None = None

    __repr__ = short_repr

    def outcomes(self, *, stable: bool) -> Flags:
        """Return which predictions are right (E + 1, N), with exact gradients on saturated images if `stable`."""
        return self.right_stable if stable else self.right

    def positions(self, *, stable: bool) -> Integers | None:
        """Return the distances (N,), with exact gradients on saturated images if `stable`; None if they are not measured."""
        return self.distances_stable if stable else self.distances


@dataclass(frozen=True)
class RobustnessLock:
    """Outcomes of each image of a run, in an order that depends on the images alone: by label, then by hash.

    Args:
        path: where it was read, for messages.
        model: description of the model.
        data: name, number, fingerprint, resizing and cropping of the images, whatever their order, and the names of the classes.
        labels: (N,) int64, ascending.
        digests: hash of the images of each class; above 100 classes, of blocks of consecutive classes.
        order: hash of the ids of the images, on which random targets and random starts depend.
        saturated: number of saturated images.
        versions: versions of the package and of PyTorch that measured the run.
        attacks: outcomes of each attack.
        repeats: (N,) bool, the image repeats another one of its label; None if the lock of an earlier version does not say.
    """

    path: str
    model: Document
    data: Document
    labels: Integers
    digests: tuple[str, ...]
    order: str
    saturated: int
    versions: Mapping[str, str]
    attacks: tuple[LockedAttack, ...]
    repeats: Flags | None = None

    __repr__ = short_repr

    @property
    def n(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of labels."""
        return tuple(self.data["classes"])

    @property
    def preprocessing(self) -> Mapping[str, Any] | None:
        """Return how the images were resized and cropped; None if they were not."""
        return self.data.get("preprocessing")

    @property
    def specs(self) -> tuple[AttackSpec, ...]:
        """Return the settings of each attack."""
        return tuple(attack.spec for attack in self.attacks)

    @property
    def close(self) -> int:
        """Return the number of images of which any prediction rests on rounding."""
        return int(np.any([attack.close.any(0) for attack in self.attacks], axis=0).sum())

    @property
    def has_ties(self) -> bool:
        """Return True if predictions that rest on rounding count as ties: not if they are more than 1 % of the images."""
        return self.close <= WARNING_SHARE * self.n

    @property
    def exceeds_saturated_share(self) -> bool:
        """Return True if more than 1 % of the images are saturated."""
        return exceeds_saturated_share(self.saturated, self.n)


def exceeds_saturated_share(saturated: int, n: int) -> bool:
    """Return True if so many saturated images of n are more than 1 %."""
    return saturated > WARNING_SHARE * n


def lock_run(run: SavedRun) -> RobustnessLock:
    """Return the lock of a finished run.

    Raises:
        RunError: the run is not finished, or has several labels for each image.
        DataError: no image of the run could be read.
        InvalidRunError: the numbers of the run must not be used.
    """
    found = outcomes_of_run(run)
    if reasons := (run.result or {})["invalid_reasons"]:
        raise InvalidRunError(f"a lock must come from a valid run, got {found.path}, whose {reasons[0]}")
    return found


def outcomes_of_run(run: SavedRun) -> RobustnessLock:
    """Return the outcomes of a finished run, also if its numbers must not be used; raise RunError or DataError as `lock_run`."""
    _check_finished(run)
    settings = run.manifest.document | {"path": str(run.manifest.directory)}
    return lock_records(run.records(), settings, run.manifest.specs)


def _check_finished(run: SavedRun) -> None:
    """Raise RunError unless all pieces of a run are finished."""
    run.ledger.check_origin()
    place, left = run.manifest.directory, len(run.manifest.pieces) - run.ledger.num_finished
    if run.result is None or left:
        raise RunError(
            f"run must be finished, got {place} with {left:,} of {len(run.manifest.pieces):,} pieces to do: "
            f"rfgsm runs resume {place}"
        )


def _check_one_class(settings: Document) -> None:
    """Raise RunError for the settings of a run whose images have several labels."""
    if settings["data"].get("task") == "multilabel":
        raise RunError(
            f"runs must have one class an image to be compared image by image, got a multi-label one in {settings['path']}: "
            "compare per_class of both documents, label by label"
        )


def lock_records(records: Iterable[PieceRecord], settings: Document, specs: Sequence[AttackSpec]) -> RobustnessLock:
    """Return the lock of the records of all pieces; raise DataError if no image could be read, RunError for several labels.

    Args:
        records: the pieces, with the hash of each image.
        settings: `path`, for messages, and `model`, `data`, `package` and `torch` as `run_settings` gives them.
        specs: the attacks, in the order of the outcomes of a record.
    """
    _check_one_class(settings)
    records = [record for record in records if len(record)]
    if not records:
        raise DataError(f"a run must hold images, got none that could be read in {settings['data']['spec']}: check the data")
    outcomes = [BatchOutcomes.concatenate([record.outcomes[attack] for record in records]) for attack in range(len(specs))]
    ids, labels = outcomes[0].ids, outcomes[0].labels
    hashes = np.concatenate([np.empty(0, np.int64), *(record.hashes for record in records if record.hashes is not None)])
    order = np.lexsort((ids, hashes, labels))
    ids, labels, hashes = ids[order], labels[order], hashes[order]
    data, saturated = settings["data"], int(outcomes[0].saturated.sum())
    ordinary = not exceeds_saturated_share(saturated, len(labels))
    whole = {"spec": data["spec"], "n": len(labels), "fingerprint": _hash(labels, hashes), "classes": list(data["classes"])}
    whole["preprocessing"] = data.get("preprocessing")
    return RobustnessLock(
        settings["path"],
        settings["model"],
        whole,
        labels,
        _class_digests(labels, hashes, len(whole["classes"])),
        _hash(ids),
        saturated,
        {name: str(settings.get(name, "unknown")).partition("+")[0] for name in ("package", "torch")},  # without the build
        tuple(_lock_attack(found.at(order), spec, ordinary=ordinary) for found, spec in zip(outcomes, specs, strict=True)),
        find_repeats(labels, hashes, ids),
    )


def _lock_attack(outcomes: BatchOutcomes, spec: AttackSpec, *, ordinary: bool) -> LockedAttack:
    exact = outcomes.with_exact_gradients()
    outcomes = outcomes if ordinary else exact
    right, right_stable = (np.asarray(np.vstack([one.before, one.after.T]) == one.labels) for one in (outcomes, exact))
    close = np.zeros_like(right)
    if outcomes.close is not None:
        marked = min(len(right), MAX_BUDGETS + 1)
        close[:marked] = outcomes.close >> np.arange(marked)[:, None] & 1
    return LockedAttack(spec, right, right_stable, close, outcomes.distances, exact.distances)


def _class_digests(labels: Integers, hashes: Integers, num_classes: int) -> tuple[str, ...]:
    starts = np.arange(0, num_classes, digest_size(num_classes))
    parts = np.split(hashes, np.searchsorted(labels, starts[1:]))
    return tuple(_hash(part)[:8] for part in parts)


def digest_size(num_classes: int) -> int:
    """Return the number of consecutive classes that have one hash."""
    return -(-num_classes // MAX_DIGESTS)


def _hash(*columns: Any) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column, "<i8").tobytes())
    return digest.hexdigest()
