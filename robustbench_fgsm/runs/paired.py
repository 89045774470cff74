"""Counts of images that two runs predict differently, and the settings in which the runs must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.runs.read import SavedRun
from robustbench_fgsm.spec import AttackSpec
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


def check_one_class(settings: Mapping[str, Any], place: object) -> None:
    """Raise RunError for the settings of a run whose images have several labels."""
    if settings["data"].get("task") == "multilabel":
        raise RunError(
            f"runs must have one class an image to be compared image by image, got a multi-label one in {place}: compare per_class "
            "of both documents, label by label"
        )


def check_finished(run: SavedRun) -> None:
    """Raise RunError unless all pieces of a run are finished."""
    run.ledger.check_origin()
    place, left = run.manifest.directory, len(run.manifest.pieces) - run.ledger.num_finished
    if run.result is None or left:
        raise RunError(
            f"run must be finished, got {place} with {left:,} of {len(run.manifest.pieces):,} pieces to do: "
            f"rfgsm runs resume {place}"
        )


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


def correct_predictions(outcomes: BatchOutcomes, *, stable: bool) -> Flags:
    """Return which predictions equal the label: before the attack, and after it at each budget (E + 1, N)."""
    after = (outcomes.with_exact_gradients() if stable else outcomes).after
    return np.asarray(np.vstack([outcomes.before, after.T]) == outcomes.labels)


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
