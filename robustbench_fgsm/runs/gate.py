"""Test, image by image, if a run lost more accuracy or distance against a baseline run than is allowed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from robustbench_fgsm.engine.environment import describe_software
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, RunError, SettingError, did_you_mean
from robustbench_fgsm.evaluation.document import Document, complete_document
from robustbench_fgsm.evaluation.result_protocol import Result
from robustbench_fgsm.options import check_share
from robustbench_fgsm.runs.lock_file import is_lock_file, read_lock
from robustbench_fgsm.runs.pair_outcomes import PairedRunCounts, pair_outcome_distances, pair_outcomes
from robustbench_fgsm.runs.read import SavedRun, read_saved_run
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, lock_run, outcomes_of_run
from robustbench_fgsm.spec import parse_epsilon
from robustbench_fgsm.stats.distance import PairedDistances
from robustbench_fgsm.stats.paired import (
    detectable_drop,
    drop_images_needed,
    drop_lower_bounds,
    drop_p_values,
    drop_upper_bounds,
    holm,
)
from robustbench_fgsm.stats.paired_distances import (
    DISTANCE_TEST_DESCRIPTION,
    DecreaseTest,
    MovedImages,
    assess_decreases,
    count_moved_images,
)
from robustbench_fgsm.stats.rate import Rate

CRITERIA = ("accuracy", "distance", "both")
TEST_POWER = 0.8
TEST_DESCRIPTION = (
    "one-sided score test of a paired difference (Tango 1998), corrected by one image for continuity and for skewness; "
    "Holm's levels over all classes and budgets"
)


@dataclass(frozen=True)
class DropTest:
    """The test of the drop in accuracy of one class, or of all classes, at one budget.

    `exceeds` is True if the drop is significantly larger than is allowed, with the adjusted p-value `p`; `within` if it is
    significantly smaller. `low` and `high` are one-sided bounds of the drop at Holm's levels. `detectable` is the smallest true
    drop that the test finds with power 0.8; None if there is none. `needed` is the number of images that show a drop like this one
    with power 0.8 in a test alone; None if the accuracy did not fall by more than is allowed.
    """

    pairs: PairedRunCounts
    low: float
    high: float
    p: float
    exceeds: bool
    within: bool
    detectable: float | None
    needed: int | None


@dataclass(frozen=True, repr=False)
class Gate(Result):
    """The verdict on a run and its baseline.

    Attributes:
        drops: tests of the accuracy.
        stable: saturated images count with their stable gradients.
        on: criterion that decides: `accuracy`, `distance` or `both`.
        decreases: tests of the distances; empty if a run has no distances.
        moved: counts of the images on both sides of each budget.
    """

    run: Document
    baseline: Document
    drops: tuple[DropTest, ...]
    max_drop: float
    alpha: float
    require_evidence: bool
    stable: bool
    seconds: float
    on: str = "accuracy"
    max_decrease: float = 0.0
    decreases: tuple[DecreaseTest, ...] = ()
    moved: tuple[MovedImages, ...] = ()

    @property
    def exceeding(self) -> list[DropTest]:
        """Return the drops that are significantly larger than is allowed."""
        return [drop for drop in self.drops if drop.exceeds]

    @property
    def unproven(self) -> list[DropTest]:
        """Return the drops that are not significantly smaller than is allowed."""
        return [drop for drop in self.drops if not drop.within]

    @property
    def improved(self) -> list[DropTest]:
        """Return the tests of the places whose accuracy rose significantly: a new baseline would hold more."""
        swapped = [replace(drop.pairs, lost=drop.pairs.gained, gained=drop.pairs.lost) for drop in self.drops]
        return [drop for drop, rise in zip(self.drops, assess_drops(swapped, 0.0, self.alpha), strict=True) if rise.exceeds]

    @property
    def passed(self) -> bool:
        """Return True if both runs are valid and no judged test exceeds; with `require_evidence`, only if each one is within."""
        judged: list[DropTest | DecreaseTest] = [*self.drops] if self.on != "distance" else []
        judged += self.decreases if self.on != "accuracy" else ()
        enough = not self.require_evidence or all(test.within for test in judged)
        return not self.invalid_reasons and not any(test.exceeds for test in judged) and enough

    @property
    def invalid_reasons(self) -> list[str]:
        """Return the reasons for which the numbers must not be used."""
        return [
            f"{name}: {reason}"
            for name, side in (("run", self.run), ("baseline", self.baseline))
            for reason in side["invalid_reasons"]
        ]

    @property
    def model_change(self) -> str:
        """Return `none`, `weights` or `architecture` by the hashes of both networks; `unknown` if one has none of its layers."""
        hashes = [{side["model"].get(key) for side in (self.run, self.baseline)} for key in ("sha256", "architecture_sha256")]
        if len(hashes[0]) == 1:
            return "none"
        return "unknown" if None in hashes[1] else "weights" if len(hashes[1]) == 1 else "architecture"

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the verdict."""
        found = ["run and baseline are of the same weights"] if self.model_change == "none" else []
        found += [
            f"run and baseline normalise by another {name}, {_numbers_text(ours)} and {_numbers_text(theirs)}"
            for name in ("mean", "std")
            if (ours := self.run["model"].get(name)) != (theirs := self.baseline["model"].get(name))
        ]
        return [*self.limits, *found]

    @property
    def limits(self) -> list[str]:
        """Return warnings of images that do not count, and of losses that no test of all images can show."""
        found = list(filter(None, [self.drops[0].pairs.repeats_text]))
        for at in (drop.pairs for drop in self.drops):
            if at.label is not None or at.baseline_correct > self.max_drop * at.n:
                continue
            where = "before the attack" if at.epsilon is None else f"at epsilon {at.epsilon:g}"
            found.append(
                f"the baseline has {at.baseline_correct:,} of {at.n:,} images right {where}, so no drop above {self.max_drop:g} "
                "can be shown: gate on a smaller epsilon, or on distances"
            )
        level = (self.alpha / 2 if self.on == "both" else self.alpha) / max(1, len(self.decreases))
        blind = [test for test in self.decreases if test.label is None and 0.5**test.compared > level]
        return found + list(map(self._blind_text, blind))

    def _blind_text(self, test: DecreaseTest) -> str:
        """Return why the distances of too few images can differ, with a remedy."""
        clean = self.drops[0].pairs  # of all images, before the attack
        wrong = clean.n - clean.baseline_correct - clean.gained
        largest = next(attack["max_epsilon"] for attack in self.run["attacks"] if attack["targeted"] == test.targeted)
        censored = test.n - test.compared - wrong
        raise_it = f"raise --max-epsilon, now {largest:g}, in both runs"
        return (
            f"distances of {test.compared:,} of {test.n:,} images can differ, too few to show a decrease: in both runs {wrong:,} "
            f"are wrong before the attack, and no epsilon up to {largest:g} fools {censored:,}: "
            f"{raise_it if censored >= wrong else 'take images that the networks have right'}"
        )

    @property
    def exit_code(self) -> int:
        """Return 0 if the gate is passed, else 1."""
        return EXIT_SUCCESS if self.passed else EXIT_NEGATIVE_RESULT

    def to_dict(self) -> Document:
        """Return the document of schema `rfgsm.gate/1`."""
        classes = self.run["data"]["classes"]
        own = {
            "verdict": "passed" if self.passed else "failed",
            "run": {key: self.run[key] for key in ("path", "model")},
            "baseline": {key: self.baseline[key] for key in ("path", "model")},
            "data": self.run["data"],
            "attacks": self.run["attacks"],
            "n": self.drops[0].pairs.n,
            "repeats": self.drops[0].pairs.repeats,
            "model_change": self.model_change,
            "max_drop": self.max_drop,
            "require_evidence": self.require_evidence,
            "alpha": self.alpha,
            "power": TEST_POWER,
            "test": TEST_DESCRIPTION,
            "gradient": "stable" if self.stable else "ordinary",
            "ties": max(drop.pairs.ties for drop in self.drops),
            "improved": bool(self.improved),
            "drops": [_drop_to_dict(drop, classes) for drop in self.drops],
            "on": self.on,
            "max_decrease": self.max_decrease,
            "distance_test": DISTANCE_TEST_DESCRIPTION if self.decreases else None,
            "decreases": [asdict(test) | {"name": None if test.label is None else classes[test.label]} for test in self.decreases],
            "moved": [asdict(moved) for moved in self.moved],
        }
        reasons, warnings = self.invalid_reasons, self.warnings
        return complete_document("rfgsm.gate/1", own, describe_software(), self.seconds, self.exit_code, reasons, warnings)


def gate(
    run: Path | str | RobustnessLock,
    baseline: Path | str | RobustnessLock,
    max_drop: float = 0.01,
    *,
    require_evidence: bool = False,
    alpha: float = 0.05,
    on: str = "accuracy",
    max_decrease: float | str = 0.0,
) -> Gate:
    """Test if accuracy or distances fell by more than is allowed from a baseline to a run, over all images and class by class.

    Args:
        run: directory that `rfgsm evaluate` or `sweep` wrote with `--out`, or a lock: a file or its content.
        baseline: directory or lock of the baseline, on equal images with an equal attack.
        max_drop: largest allowed drop, as a share of the images in [0, 1].
        require_evidence: pass only if every drop is significantly smaller than `max_drop`.
        alpha: probability, in (0, 0.5), that a gate fails although no true drop is larger than `max_drop`.
        on: criterion that decides: `accuracy`, `distance`, or `both`, each at half of `alpha`.
        max_decrease: largest allowed decrease of the distance, in units of epsilon, as a number or as text such as `0.5/255`.

    Returns:
        The verdict, with a test for each budget and class, and tests of the distances if both runs have them.

    Raises:
        SettingError: if a share is out of range.
        RunError: if a run is not finished, or the runs differ in data, attack, ids or labels.
    """
    began = time.perf_counter()
    allowed = check_gate_settings(max_drop, alpha, on, max_decrease)
    sides, (found, stable), distances = pair_sides(run, baseline)
    if on != "accuracy" and not distances:
        raise RunError(
            f"run and baseline must both have distances up to the same epsilon, got {' and '.join(map(_largest_text, sides))}: "
            "measure both with --distance and the same --max-epsilon"
        )
    level = alpha / 2 if on == "both" else alpha
    drops, decreases = assess_drops(found, max_drop, level), assess_decreases(distances, allowed, level) if distances else ()
    moved = tuple(
        count_moved_images(rule, pairs, epsilon)
        for rule, pairs in distances
        for epsilon in _budgets(sides[0], rule)
        if epsilon <= pairs.max_epsilon  # beyond it, no distance says on which side an image lies
    )
    seconds = time.perf_counter() - began
    return Gate(*sides, drops, max_drop, alpha, require_evidence, stable, seconds, on, allowed, decreases, moved)


def check_gate_settings(max_drop: float, alpha: float, on: str, max_decrease: float | str) -> float:
    """Return the largest allowed decrease; raise SettingError if a setting of `gate` is not valid."""
    check_share("max drop", max_drop)
    if not 0 < alpha < 0.5:
        raise SettingError(f"alpha must lie between 0 and 0.5, got {alpha:g}: leave it out for 0.05")
    if on not in CRITERIA:
        raise SettingError(f"on must be one of {', '.join(CRITERIA)}, got {on!r}: {did_you_mean(on, CRITERIA)}")
    allowed, *others = parse_epsilon(max_decrease, bounds=None, name="max decrease")
    if others:
        raise SettingError(f"max decrease must be one number, got {max_decrease}: try 0.5/255")
    return allowed


def _numbers_text(numbers: Sequence[float] | None) -> str:
    return "none" if numbers is None else ",".join(f"{number:g}" for number in numbers)


def _budgets(run: Document, rule: str) -> list[float]:
    return next(list(attack["epsilons"]) for attack in run["attacks"] if attack["targeted"] == rule)


def _largest_text(run: Document) -> str:
    """Return up to which epsilon a side has distances."""
    largest = run["attacks"][0].get("max_epsilon")
    return "none" if largest is None else f"those up to {largest:g}"


def pair_sides(
    run: Path | str | RobustnessLock, baseline: Path | str | RobustnessLock
) -> tuple[tuple[Document, Document], tuple[list[PairedRunCounts], bool], list[tuple[str, PairedDistances]]]:
    """Return excerpts, counts and distances of two run directories, or of two sides of which one is a lock at least."""
    if not (isinstance(run, RobustnessLock) or isinstance(baseline, RobustnessLock) or is_lock_file(run) or is_lock_file(baseline)):
        now, then = read_saved_run(run), read_saved_run(baseline)
        ours, theirs = outcomes_of_run(now), outcomes_of_run(then)
        excerpts, (counts, stable) = (_manifest_excerpt(now), _manifest_excerpt(then)), pair_outcomes(ours, theirs, with_ties=False)
    else:
        ours, theirs = map(_as_lock, (run, baseline))
        excerpts, (counts, stable) = (_lock_excerpt(ours), _lock_excerpt(theirs)), pair_outcomes(ours, theirs)
    return excerpts, (counts, stable), pair_outcome_distances(ours, theirs, stable=stable)


def _as_lock(side: Path | str | RobustnessLock) -> RobustnessLock:
    if isinstance(side, RobustnessLock):
        return side
    return read_lock(side) if is_lock_file(side) else lock_run(read_saved_run(side))


def assess_drops(paired: Sequence[PairedRunCounts], max_drop: float, alpha: float = 0.05) -> tuple[DropTest, ...]:
    """Return the test of each drop, at Holm's levels over all of them."""
    lost, gained, n = zip(*((at.lost, at.gained, at.n) for at in paired), strict=True)
    exceeds, p, levels = holm(drop_p_values(lost, gained, n, max_drop), alpha)
    within, _, upper_levels = holm(drop_p_values(gained, lost, n, -max_drop), alpha)
    low, high = drop_lower_bounds(lost, gained, n, levels), drop_upper_bounds(lost, gained, n, upper_levels)
    least = [detectable_drop(at.gained, at.n, max_drop, alpha / len(paired), TEST_POWER) for at in paired]
    needed = [drop_images_needed(at.lost, at.gained, at.n, max_drop, alpha, TEST_POWER) for at in paired]
    columns = (low.tolist(), high.tolist(), p.tolist(), exceeds.tolist(), within.tolist(), least, needed)
    return tuple(DropTest(at, *values) for at, *values in zip(paired, *columns, strict=True))


def _lock_excerpt(lock: RobustnessLock) -> Document:
    attacks = [attack.spec.to_dict() | {"epsilons": list(attack.spec.epsilons)} for attack in lock.attacks]
    return {"path": lock.path, "model": lock.model, "data": lock.data, "attacks": attacks, "invalid_reasons": []}


def _manifest_excerpt(run: SavedRun) -> Document:
    manifest = run.manifest.document
    own = {key: manifest[key] for key in ("model", "data", "attacks")}
    return {"path": str(run.manifest.directory), **own, "invalid_reasons": (run.result or {})["invalid_reasons"]}


def _drop_to_dict(drop: DropTest, classes: Sequence[str]) -> Document:
    at = drop.pairs
    return {
        "targeted": at.targeted,
        "epsilon": at.epsilon,
        "label": at.label,
        "name": None if at.label is None else classes[at.label],
        "n": at.n,
        "accuracy": Rate(at.correct, at.n).to_dict(),
        "baseline_accuracy": Rate(at.baseline_correct, at.n).to_dict(),
        "lost": at.lost,
        "gained": at.gained,
        "drop": at.drop,
        **{key: value for key, value in vars(drop).items() if key != "pairs"},
    }
