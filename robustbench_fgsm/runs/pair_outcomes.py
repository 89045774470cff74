"""Pair the outcomes of two runs over equal images: which images one predicts correctly and the other does not."""

from __future__ import annotations

import numpy as np

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.runs.paired import (
    Flags,
    PairedRunCounts,
    check_same_settings,
    has_stable_gradients,
    is_drawn,
    list_paired_counts,
)
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, digest_size
from robustbench_fgsm.stats.distance import PairedDistances

REMEDY = "measure both on the same data"
NAMED_CLASSES = 3
"""Classes with other images that an error names."""


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
