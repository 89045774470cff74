"""Plan a gate: the images that show a drop of a given size, by two rates, by McNemar's test and by distances."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from robustbench_fgsm.engine.environment import describe_software
from robustbench_fgsm.errors import EXIT_SUCCESS, SettingError
from robustbench_fgsm.evaluation.document import Document, complete_document
from robustbench_fgsm.evaluation.result_protocol import Result
from robustbench_fgsm.options import check_share
from robustbench_fgsm.runs.gate import TEST_POWER, check_gate_settings, pair_sides
from robustbench_fgsm.runs.pair_outcomes import PairedRunCounts
from robustbench_fgsm.runs.robustness_lock import RobustnessLock
from robustbench_fgsm.stats.distance import CENSORED, PairedDistances, distance_levels
from robustbench_fgsm.stats.paired import drop_images_needed
from robustbench_fgsm.stats.paired_distances import decrease_images_needed, distance_decreases
from robustbench_fgsm.stats.rate import Rate, rate_drop_images_needed
from robustbench_fgsm.stats.signed_rank import location_shift

BISECTION_STEPS = 30
DEFAULT_DROPS = (0.02, 0.03, 0.05, 0.1)


@dataclass(frozen=True)
class CriterionPlan:
    """What one criterion needs at one budget.

    Args:
        criterion: `two rates`, `McNemar` or `distance`.
        needed: images that show each planned drop with power 0.8; None if no number of images does.
        smallest: smallest drop that the images of the pilot show with power 0.8; None if there is none.
    """

    criterion: str
    needed: tuple[int | None, ...]
    smallest: float | None


@dataclass(frozen=True)
class BudgetPlan:
    """The plan of one budget of one attack, over all images or those of one class.

    Args:
        targeted: rule of the attack.
        epsilon: the budget.
        label: class; None for all images.
        accuracy: robust accuracy of the pilot, of the baseline if there are two runs.
        gained: share of the images that only the worse run has right, besides the drop.
        shifts: shift of all distances, in units of epsilon, that gives each planned drop; None without distances, or if no shift
            up to the largest budget does.
        criteria: plan of each criterion; without `distance` unless two runs have distances.
    """

    targeted: str
    epsilon: float
    label: int | None
    accuracy: Rate
    gained: float
    shifts: tuple[float | None, ...]
    criteria: tuple[CriterionPlan, ...]


@dataclass(frozen=True, repr=False)
class GatePlan(Result):
    """The images that a gate needs.

    Attributes:
        n: number of different images of the pilot.
        drops: planned drops.
        level: level of each test of the accuracy.
        distance_level: level of each test of the distances; None if the pilot has no distances.
        budgets: plan for all images at each budget.
        classes: plan for each class at each budget.
    """

    run: Document
    baseline: Document | None
    n: int
    warnings: tuple[str, ...]
    drops: tuple[float, ...]
    max_drop: float
    alpha: float
    level: float
    distance_level: float | None
    max_decrease: float
    stable: bool
    budgets: tuple[BudgetPlan, ...]
    classes: tuple[BudgetPlan, ...]
    seconds: float

    def to_dict(self) -> Document:
        """Return the document of schema `rfgsm.gate-plan/1`."""
        sides = [side for side in (self.run, self.baseline) if side is not None]
        own = {
            "pilots": [{key: side[key] for key in ("path", "model")} for side in sides],
            "data": self.run["data"],
            "attacks": self.run["attacks"],
            "n": self.n,
            "drops": list(self.drops),
            "max_drop": self.max_drop,
            "max_decrease": self.max_decrease,
            "alpha": self.alpha,
            "power": TEST_POWER,
            "level": self.level,
            "distance_level": self.distance_level,
            "gradient": "stable" if self.stable else "ordinary",
            "budgets": [_budget_to_dict(budget) for budget in self.budgets],
            "classes": [_budget_to_dict(budget) | {"name": self.run["data"]["classes"][budget.label]} for budget in self.classes],
        }
        reasons = [reason for side in sides for reason in side["invalid_reasons"]]
        return complete_document("rfgsm.gate-plan/1", own, describe_software(), self.seconds, EXIT_SUCCESS, reasons, self.warnings)


def _budget_to_dict(budget: BudgetPlan) -> Document:
    return asdict(budget) | {"accuracy": budget.accuracy.to_dict()}


def plan_gate(
    run: Path | str | RobustnessLock,
    baseline: Path | str | RobustnessLock | None = None,
    drops: Sequence[float] | str = DEFAULT_DROPS,
    *,
    max_drop: float = 0.01,
    alpha: float = 0.05,
    on: str = "accuracy",
    max_decrease: float | str = 0.0,
) -> GatePlan:
    """Return how many images show a drop of robust accuracy with power 0.8, and which drop the images of a pilot show.

    One pilot run gives the accuracy. Two runs over equal images also give how many images change in both directions, which
    McNemar's test needs, and how much distances scatter, which the test of distances needs. With one run, the plan assumes that
    no image is gained, and McNemar's number is the least possible.

    A test has the level at which Holm's method first tests one of its places: all images and each class, at each budget. The
    distances are assumed to shift equally on all images, by the shift that gives the drop, and to scatter as in the pilot. A class
    has a plan of its own, whose numbers are images of this class.

    Args:
        run: directory that `rfgsm evaluate` or `sweep` wrote with `--out`, or a lock.
        baseline: second pilot, on equal images with an equal attack; the accuracy of this run is planned from.
        drops: true drops of the accuracy, as shares of the images in (0, 1].
        max_drop: largest drop that the gate allows.
        alpha: probability that the gate fails although no true drop is larger.
        on: criterion that decides: with `both`, each has half of `alpha`.
        max_decrease: decrease of the distance that the gate allows, in units of epsilon.

    Raises:
        SettingError: if a share is out of range.
        RunError: if a run is not finished, or the runs differ in data, attack, ids or labels.
    """
    began = time.perf_counter()
    allowed = check_gate_settings(max_drop, alpha, on, max_decrease)
    sizes = _parse_drops(drops, max_drop)
    sides, (found, stable), distances = pair_sides(run, run if baseline is None else baseline)
    share = alpha / 2 if on == "both" else alpha
    level = share / len(found)
    places = sum(1 + len(np.unique(pairs.labels)) for _, pairs in distances)
    distance_level = share / places if places and baseline is not None else None
    by_rule = dict(distances)
    plans = [
        _plan_budget(at, by_rule.get(at.targeted), sizes, (max_drop, allowed), (level, distance_level), paired=baseline is not None)
        for at in found
        if at.epsilon is not None
    ]
    first, second = sides
    seconds = time.perf_counter() - began
    return GatePlan(
        first,
        None if baseline is None else second,
        found[0].n,
        tuple(filter(None, [found[0].repeats_text])),
        sizes,
        max_drop,
        alpha,
        level,
        distance_level,
        allowed,
        stable,
        tuple(plan for plan in plans if plan.label is None),
        tuple(plan for plan in plans if plan.label is not None),
        seconds,
    )


def _parse_drops(drops: Sequence[float] | str, max_drop: float) -> tuple[float, ...]:
    try:
        sizes = tuple(map(float, drops.split(",") if isinstance(drops, str) else drops))
    except ValueError as error:
        raise SettingError(f"drops must be numbers with commas between them, got {drops}: try 0.02,0.05") from error
    if not sizes:
        raise SettingError("drops must hold a number, got none: try 0.02,0.05")
    for size in sizes:
        check_share("each drop", size)
    if min(sizes) <= max_drop:
        raise SettingError(f"each drop must be larger than max drop {max_drop:g}, got {min(sizes):g}: pass larger drops")
    return sizes


def _plan_budget(
    at: PairedRunCounts,
    pairs: PairedDistances | None,
    drops: Sequence[float],
    allowed: tuple[float, float],
    levels: tuple[float, float | None],
    *,
    paired: bool,
) -> BudgetPlan:
    assert at.epsilon is not None  # noqa: S101  (plans hold budgets alone)
    (max_drop, max_decrease), (level, distance_level) = allowed, levels
    pairs = pairs if pairs is None or at.label is None else pairs.of_class(at.label)
    share = at.baseline_correct / at.n
    gained = min(at.lost, at.gained) / at.n if paired else 0.0

    def by_rates(drop: float) -> int | None:
        return rate_drop_images_needed(share, drop, max_drop, level, TEST_POWER)

    def by_pairs(drop: float) -> int | None:
        return drop_images_needed(gained + drop, gained, 1, max_drop, level, TEST_POWER)

    tests: list[tuple[str, Callable[[float], int | None], float]] = [
        ("two rates", by_rates, share),
        ("McNemar", by_pairs, min(share, 1 - 2 * gained)),
    ]
    shifts: tuple[float | None, ...] = (None,) * len(drops)
    if pairs is not None:
        shift_of = _ShiftOfDrop.of(pairs, at.epsilon)
        shifts = tuple(shift_of(drop) if drop <= shift_of.largest_drop else None for drop in drops)
        if distance_level is not None:
            decreases, one_level = distance_decreases(pairs), distance_level
            scatter = decreases - location_shift(decreases)

            def by_distances(drop: float) -> int | None:
                return decrease_images_needed(scatter + shift_of(drop), at.n, max_decrease, one_level, TEST_POWER)

            tests.append(("distance", by_distances, shift_of.largest_drop))
    criteria = tuple(
        CriterionPlan(
            name, tuple(test(drop) if drop <= largest else None for drop in drops), _smallest_drop(test, at.n, max_drop, largest)
        )
        for name, test, largest in tests
    )
    return BudgetPlan(at.targeted, at.epsilon, at.label, Rate(at.baseline_correct, at.n), gained, shifts, criteria)


@dataclass(frozen=True)
class _ShiftOfDrop:
    """The shift of all distances that takes a share of n images across one budget; `beyond` are the distances above, sorted."""

    beyond: tuple[float, ...]
    epsilon: float
    n: int

    @classmethod
    def of(cls, pairs: PairedDistances, epsilon: float) -> _ShiftOfDrop:
        """Take the distances of the baseline that are not censored."""
        distances = distance_levels(pairs.max_epsilon)[pairs.baseline[pairs.baseline < CENSORED]]
        return cls(tuple(np.sort(distances[distances > epsilon]).tolist()), epsilon, len(pairs.baseline))

    @property
    def largest_drop(self) -> float:
        """Return the largest drop that a shift gives."""
        return len(self.beyond) / self.n

    def __call__(self, drop: float) -> float:
        """Return the shift of a drop that is at most the largest: 0 for less than half an image."""
        count = round(drop * self.n)
        return self.beyond[count - 1] - self.epsilon if count else 0.0


def _smallest_drop(needed: Callable[[float], int | None], n: int, max_drop: float, largest: float) -> float | None:
    """Return the smallest drop that n images show, by bisection: larger drops need fewer images."""

    def is_shown(drop: float) -> bool:
        images = needed(drop)
        return images is not None and images <= n

    if largest <= max_drop or not is_shown(largest):
        return None
    low, high = max_drop, largest
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_shown(middle) else (middle, high)
    return high
