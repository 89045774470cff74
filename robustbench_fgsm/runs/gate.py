"""Test, image by image, if a run lost more accuracy against a baseline run than is allowed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robustbench_fgsm.engine.environment import describe_software
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, SettingError
from robustbench_fgsm.evaluation.document import Document, complete_document
from robustbench_fgsm.options import check_share
from robustbench_fgsm.runs.lock_file import is_lock_file, read_lock
from robustbench_fgsm.runs.pair_locks import pair_locks
from robustbench_fgsm.runs.paired import PairedRunCounts, pair_runs
from robustbench_fgsm.runs.read import SavedRun, read_saved_run
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, lock_run
from robustbench_fgsm.stats.paired import detectable_drop, drop_lower_bounds, drop_p_values, drop_upper_bounds, holm
from robustbench_fgsm.stats.rate import Rate

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
    drop that the test finds with power 0.8; None if there is none.
    """

    pairs: PairedRunCounts
    low: float
    high: float
    p: float
    exceeds: bool
    within: bool
    detectable: float | None


@dataclass(frozen=True)
class Gate:
    """The verdict on a run and its baseline; `stable` is True if saturated images count with their stable gradients."""

    run: Document
    baseline: Document
    drops: tuple[DropTest, ...]
    max_drop: float
    alpha: float
    require_evidence: bool
    stable: bool
    seconds: float

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
        """Return True if both runs are valid and no drop exceeds; with `require_evidence`, only if each drop is within."""
        enough = not (self.require_evidence and self.unproven)
        return not self.invalid_reasons and not self.exceeding and enough

    @property
    def invalid_reasons(self) -> list[str]:
        """Return the reasons for which the numbers must not be used."""
        return [
            f"{name}: {reason}"
            for name, side in (("run", self.run), ("baseline", self.baseline))
            for reason in side["invalid_reasons"]
        ]

    @property
    def warnings(self) -> list[str]:
        """Return what a reader must know beside the verdict."""
        found = []
        if self.run["data"]["fingerprint"] != self.baseline["data"]["fingerprint"]:
            found.append("ids and labels are the same, but the fingerprints of the images are not")
        if self.run["model"]["sha256"] == self.baseline["model"]["sha256"]:
            found.append("run and baseline are of the same weights")
        return found

    @property
    def exit_code(self) -> int:
        """Return 0 if the gate is passed, else 1."""
        return EXIT_SUCCESS if self.passed else EXIT_NEGATIVE_RESULT

    def to_dict(self) -> Document:
        """Return the document of schema `rfgsm.gate/1`."""
        own = {
            "verdict": "passed" if self.passed else "failed",
            "run": {key: self.run[key] for key in ("path", "model")},
            "baseline": {key: self.baseline[key] for key in ("path", "model")},
            "data": self.run["data"],
            "attacks": self.run["attacks"],
            "n": self.drops[0].pairs.n,
            "max_drop": self.max_drop,
            "require_evidence": self.require_evidence,
            "alpha": self.alpha,
            "power": TEST_POWER,
            "test": TEST_DESCRIPTION,
            "gradient": "stable" if self.stable else "ordinary",
            "ties": max(drop.pairs.ties for drop in self.drops),
            "improved": bool(self.improved),
            "drops": [_drop_to_dict(drop, self.run["data"]["classes"]) for drop in self.drops],
        }
        reasons, warnings = self.invalid_reasons, self.warnings
        return complete_document("rfgsm.gate/1", own, describe_software(), self.seconds, self.exit_code, reasons, warnings)


def gate(
    run: Path | str, baseline: Path | str, max_drop: float = 0.01, *, require_evidence: bool = False, alpha: float = 0.05
) -> Gate:
    """Test if robust or clean accuracy fell by more than `max_drop` from a baseline to a run, over all images and class by class.

    Args:
        run: directory that `rfgsm evaluate` or `sweep` wrote with `--out`, or a file that `rfgsm lock` wrote.
        baseline: directory or lock file of the baseline, on equal images with an equal attack.
        max_drop: largest allowed drop, as a share of the images in [0, 1].
        require_evidence: pass only if every drop is significantly smaller than `max_drop`.
        alpha: probability, in (0, 0.5), that a gate fails although no true drop is larger than `max_drop`.

    Returns:
        The verdict, with a test for each budget and class.

    Raises:
        SettingError: if a share is out of range.
        RunError: if a run is not finished, or the runs differ in data, attack, ids or labels.
    """
    began = time.perf_counter()
    _check_shares(max_drop, alpha)
    sides, (found, stable) = _pair(Path(run), Path(baseline))
    if not found[0].n:
        raise SettingError("run and baseline must hold images, got none that could be read: check the data")
    drops = assess_drops(found, max_drop, alpha)
    return Gate(*sides, drops, max_drop, alpha, require_evidence, stable, time.perf_counter() - began)


def judge_lock(
    run: RobustnessLock, baseline: RobustnessLock, max_drop: float = 0.01, *, require_evidence: bool = False, alpha: float = 0.05
) -> Gate:
    """Return the verdict of `gate` on two locks in memory; raise RunError if they differ in data, classes or attacks."""
    began = time.perf_counter()
    _check_shares(max_drop, alpha)
    found, stable = pair_locks(run, baseline)
    drops, seconds = assess_drops(found, max_drop, alpha), time.perf_counter() - began
    return Gate(_lock_excerpt(run), _lock_excerpt(baseline), drops, max_drop, alpha, require_evidence, stable, seconds)


def _check_shares(max_drop: float, alpha: float) -> None:
    check_share("max drop", max_drop)
    if not 0 < alpha < 0.5:
        raise SettingError(f"alpha must lie between 0 and 0.5, got {alpha:g}: leave it out for 0.05")


def _pair(run: Path, baseline: Path) -> tuple[tuple[Document, Document], tuple[list[PairedRunCounts], bool]]:
    """Return excerpts and counts of two run directories, or of a run directory or lock file and a lock file."""
    if not any(map(is_lock_file, (run, baseline))):
        now, then = read_saved_run(run), read_saved_run(baseline)
        return (_manifest_excerpt(now), _manifest_excerpt(then)), pair_runs(now, then)
    locks = [read_lock(side) if is_lock_file(side) else lock_run(read_saved_run(side)) for side in (run, baseline)]
    return (_lock_excerpt(locks[0]), _lock_excerpt(locks[1])), pair_locks(*locks)


def assess_drops(paired: Sequence[PairedRunCounts], max_drop: float, alpha: float = 0.05) -> tuple[DropTest, ...]:
    """Return the test of each drop, at Holm's levels over all of them."""
    lost, gained, n = zip(*((at.lost, at.gained, at.n) for at in paired), strict=True)
    exceeds, p, levels = holm(drop_p_values(lost, gained, n, max_drop), alpha)
    within, _, upper_levels = holm(drop_p_values(gained, lost, n, -max_drop), alpha)
    low, high = drop_lower_bounds(lost, gained, n, levels), drop_upper_bounds(lost, gained, n, upper_levels)
    least = [detectable_drop(at.gained, at.n, max_drop, alpha / len(paired), TEST_POWER) for at in paired]
    columns = (low.tolist(), high.tolist(), p.tolist(), exceeds.tolist(), within.tolist(), least)
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
