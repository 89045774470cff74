"""Pair two runs over equal images: which images one run predicts correctly and the other does not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.document import WARNING_SHARE
from robustbench_fgsm.runs.read import SavedRun
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.distance import ImageDistances, PairedDistances, image_distances, pair_distances
from robustbench_fgsm.stats.repeated_images import find_repeats
from robustbench_fgsm.stats.tally import BatchOutcomes

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class PairedRunCounts:
    """Counts of the images of one class at one budget of one attack, in two runs.

    `targeted` is the attack's rule. `epsilon` is None before the attack, `label` None for all classes. Of n images,
    `baseline_correct` are correct in the baseline, `lost` in the baseline alone, and `gained` in the other run alone. `ties` are
    correct in one run alone too, but a prediction rests on rounding: they count as unchanged. `repeats` are images that repeat one
    of the n: they are not counted, because copies are no further evidence.
    """

    targeted: str
    epsilon: float | None
    label: int | None
    n: int
    baseline_correct: int
    lost: int
    gained: int
    ties: int = 0
    repeats: int = 0

    @property
    def repeats_text(self) -> str:
        """Return which images are not counted, as a warning; empty if all are."""
        if not self.repeats:
            return ""
        return f"{self.repeats:,} of {self.n + self.repeats:,} images repeat another image of their class: each counts once"

    @property
    def correct(self) -> int:
        """Return the number of images that are correct in the run."""
        return self.baseline_correct - self.lost + self.gained

    @property
    def drop(self) -> float:
        """Return by how much the share of correct images fell."""
        return (self.lost - self.gained) / self.n


def pair_runs(run: SavedRun, baseline: SavedRun) -> tuple[list[PairedRunCounts], bool]:
    """Return the counts of two runs, paired image by image, and True if saturated images count with their stable gradients.

    Counts come before the attack (once), then for each attack and budget: all images first, then each class that has images.
    Of images that are equal, with equal labels, the one with the smallest id counts.
    Stable gradients count if more than 1 % of the images of either run are saturated.

    Raises RunError if a run is not finished, or the runs differ in data, attack, ids or labels.
    """
    check_comparable(run, baseline)
    for side in (run, baseline):
        check_finished(side)
    check_one_class(run.manifest.document, run.manifest.directory)
    stable = all(map(has_stable_gradients, run.manifest.specs)) and any(map(_exceeds_saturated_share, (run, baseline)))
    n, counts, repeats = _count_pairs(run, baseline, stable=stable)
    return list(list_paired_counts(run.manifest.specs, n, counts, repeats)), stable


def read_image_distances(run: SavedRun, attack: int = 0, *, stable: bool = False) -> ImageDistances | None:
    """Return the distances of the images of one attack of a run; None if the attack measured none.

    Args:
        run: a run whose pieces are finished.
        attack: number of the attack, in the order of the manifest.
        stable: take exact gradients on saturated images.
    """
    if (max_epsilon := run.manifest.specs[attack].max_epsilon) is None:
        return None
    parts = [record.outcomes[attack] for record in run.records() if len(record)]
    parts = [outcomes.with_exact_gradients() if stable else outcomes for outcomes in parts]
    return image_distances(parts, max_epsilon)


def check_one_class(settings: Mapping[str, Any], place: object) -> None:
    """Raise RunError for the settings of a run whose images have several labels."""
    if settings["data"].get("task") == "multilabel":
        raise RunError(
            f"runs must have one class an image to be compared image by image, got a multi-label one in {place}: compare per_class "
            "of both documents, label by label"
        )


def pair_run_distances(run: SavedRun, baseline: SavedRun, *, stable: bool) -> list[tuple[str, PairedDistances]]:
    """Return rule and distances of each attack of two runs that `pair_runs` paired; none unless both have equal largest budgets."""
    specs, others = run.manifest.specs, baseline.manifest.specs
    if any(spec.max_epsilon is None or spec.max_epsilon != other.max_epsilon for spec, other in zip(specs, others, strict=True)):
        return []
    found, repeats = [], repeated_ids(run)
    for attack, spec in enumerate(specs):
        ours, theirs = (read_image_distances(side, attack, stable=stable) for side in (run, baseline))
        assert ours is not None  # noqa: S101  (the attack measures distances)
        assert theirs is not None  # noqa: S101
        found.append((str(spec.target), pair_distances(ours, theirs).at(~np.isin(ours.ids, repeats))))
    return found


def repeated_ids(run: SavedRun) -> Integers:
    """Return the ids of the images of a run that equal an image of a smaller id, with an equal label."""
    none = np.zeros(0, np.int64)
    records = [record for record in run.records() if len(record) and record.hashes is not None]
    columns = ([getattr(record, name) for record in records] for name in ("labels", "hashes", "ids"))
    labels, hashes, ids = (np.concatenate([none, *column]) for column in columns)
    return np.asarray(ids[find_repeats(labels, hashes, ids)], np.int64)


def check_finished(run: SavedRun) -> None:
    """Raise RunError unless all pieces of a run are finished."""
    run.ledger.check_origin()
    place, left = run.manifest.directory, len(run.manifest.pieces) - run.ledger.num_finished
    if run.result is None or left:
        raise RunError(
            f"run must be finished, got {place} with {left:,} of {len(run.manifest.pieces):,} pieces to do: "
            f"rfgsm runs resume {place}"
        )


def check_comparable(run: SavedRun, baseline: SavedRun) -> None:
    """Raise RunError with the difference unless both runs have equal attacks and numbers of images."""
    check_same_settings(run.manifest, baseline.manifest)


class ComparedSettings(Protocol):
    """What a run and its baseline must agree in."""

    @property
    def n(self) -> int:
        """Return the number of images."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes in the order of labels."""

    @property
    def specs(self) -> tuple[AttackSpec, ...]:
        """Return the settings of each attack."""

    @property
    def preprocessing(self) -> Mapping[str, Any] | None:
        """Return how the images were resized and cropped; None if they were not."""


def check_same_settings(run: ComparedSettings, baseline: ComparedSettings) -> None:
    """Raise RunError with the difference unless number of images, classes and attacks are equal."""
    for name, ours, theirs in _compared_settings(run, baseline):
        if ours != theirs:
            raise RunError(f"run and baseline must have the same {name}, got {ours} and {theirs}: measure one of them again")


def _compared_settings(ours: ComparedSettings, theirs: ComparedSettings) -> Iterator[tuple[str, Any, Any]]:
    yield "number of images", ours.n, theirs.n
    yield "classes", ", ".join(ours.classes), ", ".join(theirs.classes)
    yield "resizing and cropping", _preprocessing_text(ours), _preprocessing_text(theirs)
    yield "targeting rules", _rules_text(ours.specs), _rules_text(theirs.specs)
    for mine, other in zip(ours.specs, theirs.specs, strict=True):
        yield "epsilons", _epsilons_text(mine), _epsilons_text(other)
        before, after = mine.to_dict(), other.to_dict()
        drawn = is_drawn(mine) or is_drawn(other)
        for key in before:
            if key != "max_epsilon" and (key != "seed" or drawn):
                yield key, before[key], after.get(key)


def _preprocessing_text(side: ComparedSettings) -> str:
    steps = side.preprocessing or {}
    sizes = [f"{name} {'x'.join(map(str, steps[name]))}" for name in ("resize", "crop") if steps.get(name)]
    smoothing = [] if steps.get("antialias", True) else ["not smoothed"]
    return ", ".join([*sizes, str(steps["interpolation"]), *smoothing]) if sizes else "none"


def is_drawn(spec: AttackSpec) -> bool:
    """Return True if an attack has random starts or random targets, which are drawn by the ids of the images."""
    return bool(spec.restarts) or spec.target.kind == "random"


def _rules_text(specs: tuple[AttackSpec, ...]) -> str:
    return ", ".join(str(spec.target) for spec in specs)


def _epsilons_text(spec: AttackSpec) -> str:
    steps = [round(epsilon * 255) for epsilon in spec.epsilons]
    if all(0 < step < 255 and step / 255 == epsilon for step, epsilon in zip(steps, spec.epsilons, strict=True)):
        return f"{','.join(map(str, steps))}/255"
    return ",".join(map(repr, spec.epsilons))


def has_stable_gradients(spec: AttackSpec) -> bool:
    """Return True if saturated images are attacked a second time, along exact gradients."""
    return spec.loss == "ce" and not spec.stable


def _exceeds_saturated_share(run: SavedRun) -> bool:
    flags = [record.outcomes[0].saturated for record in run.records() if len(record)]
    return sum(int(flag.sum()) for flag in flags) > WARNING_SHARE * sum(map(len, flags))


def _count_pairs(run: SavedRun, baseline: SavedRun, *, stable: bool) -> tuple[Integers, Integers, Integers]:
    """Return the different images of each class (K,), counts (A, E + 1, 3, K) of them, and the repeated images (K,).

    Budget 0 is before the attack. The three counts are: correct in the baseline, lost, and gained.
    """
    classes, attacks = len(run.manifest.classes), len(run.manifest.specs)
    budgets = len(run.manifest.specs[0].epsilons)
    block = math.lcm(run.manifest.pieces.size, baseline.manifest.pieces.size)
    n, repeats, left_out = np.zeros(classes, np.int64), np.zeros(classes, np.int64), repeated_ids(run)
    counts = np.zeros((attacks, budgets + 1, 3, classes), np.int64)
    for ours, theirs in zip(_record_blocks(run, block), _record_blocks(baseline, block), strict=True):
        (ids, labels, right), (other_ids, other_labels, before) = (
            _outcomes_by_id(records, attacks, budgets, stable=stable) for records in (ours, theirs)
        )
        _check_same_images(ids, other_ids, labels, other_labels)
        _check_same_hashes(ids, _hashes_by_id(ours), _hashes_by_id(theirs))
        kept = ~np.isin(ids, left_out)
        repeats += np.bincount(labels[~kept], minlength=classes)
        labels, right, before = labels[kept], right[:, :, kept], before[:, :, kept]
        n += np.bincount(labels, minlength=classes)
        for attack, budget in np.ndindex(attacks, budgets + 1):
            now, then = right[attack, budget], before[attack, budget]
            for at, chosen in enumerate((then, then & ~now, now & ~then)):
                counts[attack, budget, at] += np.bincount(labels[chosen], minlength=classes)
    return n, counts, repeats


def _record_blocks(run: SavedRun, size: int) -> Iterator[list[PieceRecord]]:
    """Return records in blocks of `size` images, a multiple of the piece size."""
    pieces = run.manifest.pieces
    for _, records in groupby(run.records(), key=lambda record: pieces.span(record.number).start // size):
        yield list(records)


def _outcomes_by_id(records: list[PieceRecord], attacks: int, budgets: int, *, stable: bool) -> tuple[Integers, Integers, Flags]:
    """Return ids and labels (N,) by ascending id, and which predictions are correct (A, E + 1, N)."""
    records = [record for record in records if len(record)]
    if not records:
        none = np.zeros(0, np.int64)
        return none, none, np.zeros((attacks, budgets + 1, 0), np.bool_)
    ids = np.concatenate([record.ids for record in records])
    labels = np.concatenate([record.labels for record in records])
    right = [np.stack([correct_predictions(outcomes, stable=stable) for outcomes in record.outcomes]) for record in records]
    order = np.argsort(ids, kind="stable")
    return ids[order], labels[order], np.concatenate(right, axis=2)[:, :, order]


def correct_predictions(outcomes: BatchOutcomes, *, stable: bool) -> Flags:
    """Return which predictions equal the label: before the attack, and after it at each budget (E + 1, N)."""
    after = (outcomes.with_exact_gradients() if stable else outcomes).after
    return np.asarray(np.vstack([outcomes.before, after.T]) == outcomes.labels)


def _check_same_images(ids: Integers, others: Integers, labels: Integers, other_labels: Integers) -> None:
    if not np.array_equal(ids, others):
        first = np.setxor1d(ids, others)[0]
        raise RunError(
            f"run and baseline must have the same ids of images, got {first} in one of them alone: measure both on the same data"
        )
    if (differing := np.flatnonzero(labels != other_labels)).size:
        first = differing[0]
        raise RunError(
            f"run and baseline must have the same labels, got {labels[first]} and {other_labels[first]} for the image "
            f"of id {ids[first]}: measure both on the same data"
        )


def _hashes_by_id(records: list[PieceRecord]) -> Integers:
    """Return the hashes (N,) of the images by ascending id."""
    none = np.zeros(0, np.int64)
    ids = np.concatenate([none, *(record.ids for record in records)])
    hashes = np.concatenate([none, *(record.hashes for record in records if record.hashes is not None)])
    return np.asarray(hashes[np.argsort(ids, kind="stable")], np.int64)


def _check_same_hashes(ids: Integers, hashes: Integers, others: Integers) -> None:
    """Raise RunError if an image of one run is not that of the other run."""
    if (differing := np.flatnonzero(hashes != others)).size:
        raise RunError(
            "run and baseline must have the same images, got others with the same labels, first the one of id "
            f"{ids[differing[0]]}: measure both on the same data"
        )


def list_paired_counts(
    specs: tuple[AttackSpec, ...], n: Integers, counts: Integers, repeats: Integers
) -> Iterator[PairedRunCounts]:
    """Yield counts of all images and of each class, before the attack (once) and at each budget of each attack.

    Args:
        specs: the A attacks, with E budgets each.
        n: (K,) images of each class.
        counts: (A, E + 1, 3, K) images that are correct in the baseline, lost and gained, and perhaps ties; budget 0 is before the
            attack.
        repeats: (K,) images of each class that repeat one of these.
    """
    for attack, spec in enumerate(specs):
        for budget, epsilon in enumerate((None, *spec.epsilons)):
            if attack and epsilon is None:  # the same before each attack
                continue
            for label in (None, *np.flatnonzero(n).tolist()):
                chosen = slice(None) if label is None else label
                columns = (n, *counts[attack, budget][:3], counts[attack, budget][3:].sum(0), repeats)
                yield PairedRunCounts(str(spec.target), epsilon, label, *(int(column[chosen].sum()) for column in columns))
