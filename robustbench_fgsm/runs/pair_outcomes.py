"""Pair the outcomes of two runs over equal images: which images one predicts correctly and the other does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.runs.robustness_lock import Flags, Integers, RobustnessLock, digest_size
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.distance import PairedDistances

REMEDY = "measure both on the same data"
NAMED_CLASSES = 3
"""Classes with other images that an error names."""


@dataclass(frozen=True)
class PairedRunCounts:
    """Counts of the images of one class at one budget of one attack, in two runs.

    `targeted` is the attack's rule. `epsilon` is None before the attack, `label` None for all classes. Of n images,
    `baseline_correct` are correct in the baseline, `lost` in the baseline alone, and `gained` in the other run alone. `ties` are
    correct in one run alone too, but a prediction depends on rounding: they count as unchanged. `repeats` are images that repeat
    one of the n: they are not counted, because copies are no further evidence.
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


def pair_outcomes(run: RobustnessLock, baseline: RobustnessLock, *, with_ties: bool = True) -> tuple[list[PairedRunCounts], bool]:
    """Return the counts of two runs, paired image by image, and True if saturated images count with their stable gradients.

    Counts come before the attack (once), then for each attack and budget: all images first, then each class that has images.
    Images that repeat another one of their class do not count. Stable gradients count if more than 1 % of the images of either
    run are saturated. The order of the images depends on the images alone, so it is equal on both sides.

    Args:
        run: outcomes of the run.
        baseline: outcomes of the baseline.
        with_ties: a prediction that rounding could change on either side is a tie: the image counts as unchanged.

    Raises:
        RunError: attacks, classes or images differ.
    """
    check_same_images(run, baseline)
    check_same_settings(run, baseline)
    if any(map(is_drawn, run.specs)) and run.order != baseline.order:
        raise RunError(
            "run and baseline must have their images in the same order for random targets or random starts, got other orders: "
            "measure one of them again, or attack without restarts"
        )
    stable = all(map(has_stable_gradients, run.specs)) and (run.exceeds_saturated_share or baseline.exceeds_saturated_share)
    kept, classes = ~repeated_images(run, baseline), len(run.classes)
    labels, repeats = run.labels[kept], np.bincount(run.labels[~kept], minlength=classes)
    counts = np.zeros((len(run.attacks), len(run.attacks[0].right), 4, classes), np.int64)
    for attack, (mine, other) in enumerate(zip(run.attacks, baseline.attacks, strict=True)):
        now, then = mine.outcomes(stable=stable), other.outcomes(stable=stable)
        ties = ((mine.close & run.has_ties) | (other.close & baseline.has_ties)) & with_ties
        for kind, chosen in enumerate((then, then & ~now & ~ties, now & ~then & ~ties, ties & (now != then))):
            for budget, flags in enumerate(chosen[:, kept]):
                counts[attack, budget, kind] = np.bincount(labels[flags], minlength=classes)
    return list(list_paired_counts(run.specs, np.bincount(labels, minlength=classes), counts, repeats)), stable


def repeated_images(run: RobustnessLock, baseline: RobustnessLock) -> Flags:
    """Return the images (N,) that repeat another one by either lock: hashes of files, or a lock without them, may miss some."""
    none = np.zeros(run.n, np.bool_)
    return np.logical_or(*(none if side.repeats is None else side.repeats for side in (run, baseline)))


def pair_outcome_distances(run: RobustnessLock, baseline: RobustnessLock, *, stable: bool) -> list[tuple[str, PairedDistances]]:
    """Return rule and distances of each attack of two runs that `pair_outcomes` paired; none unless both have equal budgets."""
    found = []
    for mine, other in zip(run.attacks, baseline.attacks, strict=True):
        now, then, largest = mine.positions(stable=stable), other.positions(stable=stable), mine.spec.max_epsilon
        if now is None or then is None or largest is None or largest != other.spec.max_epsilon:
            return []
        pairs = PairedDistances(run.labels, now, then, largest)
        found.append((str(mine.spec.target), pairs.at(~repeated_images(run, baseline))))
    return found


def check_same_images(run: RobustnessLock, baseline: RobustnessLock) -> None:
    """Raise RunError with the difference unless both locks are of the same classes and images, in any order."""
    if run.classes != baseline.classes:
        at = next((i for i, pair in enumerate(zip(run.classes, baseline.classes, strict=False)) if pair[0] != pair[1]), None)
        found = (
            f"{len(run.classes)} and {len(baseline.classes)} classes"
            if at is None
            else f"{run.classes[at]!r} and {baseline.classes[at]!r} for label {at}"
        )
        raise RunError(f"run and baseline must have the same classes in the same order, got {found}: {REMEDY}")
    if run.data["fingerprint"] == baseline.data["fingerprint"]:
        return
    size = digest_size(len(run.classes))
    starts = np.arange(0, len(run.classes), size)
    differing = [block for block, pair in enumerate(zip(run.digests, baseline.digests, strict=True)) if pair[0] != pair[1]]
    ours, theirs = (np.add.reduceat(np.bincount(side.labels, minlength=len(run.classes)), starts) for side in (run, baseline))
    named = "; ".join(
        f"{run.classes[starts[block]]}{' and others' if size > 1 else ''} with {ours[block]:,} and {theirs[block]:,} images"
        for block in differing[:NAMED_CLASSES]
    )
    raise RunError(
        f"run and baseline must be on the same images, got {run.n:,} of {run.data['spec']} and {baseline.n:,} of "
        f"{baseline.data['spec']}, which differ in {len(differing)} of {len(starts)} classes ({named}): {REMEDY}"
    )


def check_same_settings(run: RobustnessLock, baseline: RobustnessLock) -> None:
    """Raise RunError with the difference unless attacks, and resizing and cropping, are equal."""
    for name, ours, theirs in _compared_settings(run, baseline):
        if ours != theirs:
            raise RunError(f"run and baseline must have the same {name}, got {ours} and {theirs}: measure one of them again")


def _compared_settings(ours: RobustnessLock, theirs: RobustnessLock) -> Iterator[tuple[str, Any, Any]]:
    yield "resizing and cropping", _preprocessing_text(ours), _preprocessing_text(theirs)
    yield "targeting rules", _rules_text(ours.specs), _rules_text(theirs.specs)
    for mine, other in zip(ours.specs, theirs.specs, strict=True):
        yield "epsilons", _epsilons_text(mine), _epsilons_text(other)
        before, after = mine.to_dict(), other.to_dict()
        drawn = is_drawn(mine) or is_drawn(other)
        for key in before:
            if key != "max_epsilon" and (key != "seed" or drawn):
                yield key, before[key], after.get(key)


def _preprocessing_text(side: RobustnessLock) -> str:
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
