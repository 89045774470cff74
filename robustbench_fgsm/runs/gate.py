"""Whether a run lost more robust accuracy than a team allows, from its images and those of a baseline, paired."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustbench_fgsm.engine.environment import describe_software
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.runs.paired import PairedRunCounts, pair_runs
from robustbench_fgsm.runs.read import SavedRun, read_saved_run
from robustbench_fgsm.spec import check_share
from robustbench_fgsm.stats.paired import detectable_drop, drop_lower_bounds, drop_p_values, drop_upper_bounds, holm
from robustbench_fgsm.stats.rate import Rate

TEST_POWER = 0.8
TEST_DESCRIPTION = (
    "one-sided score test of a paired difference (Tango 1998), corrected by one image for continuity and for skewness; "
    "Holm's levels over all classes and budgets"
)


@dataclass(frozen=True)
class DropTest:
    """What became of the images of one class, or of all, at one budget.

    exceeds: the drop is shown to be larger than is allowed; within: shown to be smaller. low, high: one-sided bounds of
    the drop at the levels by which Holm decides that. p: of `exceeds`, adjusted. detectable: the smallest true drop that
    these images show in 4 of 5 cases; None where none is that large.
    """

    pairs: PairedRunCounts
    p: float
    exceeds: bool
    within: bool
    low: float
    high: float
    detectable: float | None


@dataclass(frozen=True)
class Gate:
    """The verdict on a run beside its baseline. stable: whether gradients are the stable ones where images are saturated."""

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
        """Drops that are shown to be larger than is allowed."""
        return [drop for drop in self.drops if drop.exceeds]

    @property
    def unproven(self) -> list[DropTest]:
        """Drops that are not shown to be smaller than that."""
        return [drop for drop in self.drops if not drop.within]

    @property
    def passed(self) -> bool:
        """Whether both runs are valid and no drop exceeds what is allowed; with evidence asked for, each is shown not to."""
        enough = not (self.require_evidence and self.unproven)
        return not self.invalid_reasons and not self.exceeding and enough

    @property
    def invalid_reasons(self) -> list[str]:
        """Why the numbers must not be used."""
        return [
            f"{name}: {reason}"
            for name, side in (("run", self.run), ("baseline", self.baseline))
            for reason in side["invalid_reasons"]
        ]

    @property
    def warnings(self) -> list[str]:
        """What a reader must know beside the verdict."""
        found = []
        if self.run["data"]["fingerprint"] != self.baseline["data"]["fingerprint"]:
            found.append("ids and labels are the same, but the fingerprints of the images are not")
        if self.run["model"]["sha256"] == self.baseline["model"]["sha256"]:
            found.append("run and baseline are of the same weights")
        return found

    @property
    def exit_code(self) -> int:
        """0 where the gate is passed, else 1."""
        return EXIT_SUCCESS if self.passed else EXIT_NEGATIVE_RESULT

    def to_dict(self) -> Document:
        """The document `rfgsm.gate/1`."""
        return {
            "schema": "rfgsm.gate/1",
            "status": "invalid" if self.invalid_reasons else "complete",
            "exit_code": self.exit_code,
            "invalid_reasons": self.invalid_reasons,
            "warnings": self.warnings,
            "verdict": "passed" if self.passed else "failed",
            "run": _run_to_dict(self.run),
            "baseline": _run_to_dict(self.baseline),
            "data": self.run["data"],
            "attacks": self.run["attacks"],
            "n": self.drops[0].pairs.n,
            "max_drop": self.max_drop,
            "require_evidence": self.require_evidence,
            "alpha": self.alpha,
            "power": TEST_POWER,
            "test": TEST_DESCRIPTION,
            "gradient": "stable" if self.stable else "ordinary",
            "drops": [_drop_to_dict(drop, self.run["data"]["classes"]) for drop in self.drops],
            "environment": describe_software(),
            "seconds": {"total": self.seconds},
        }


def gate(
    run: Path | str,
    baseline: Path | str,
    max_drop: float = 0.01,
    *,
    require_evidence: bool = False,
    alpha: float = 0.05,
) -> Gate:
    """Whether robust accuracy, or clean accuracy, fell by more than `max_drop` from the baseline to the run, class by class.

    run, baseline: directories that `rfgsm evaluate` or `sweep` made with --out, on the same images, with the same attack.
    max_drop: a share of the images. require_evidence: pass only where every drop is shown to be smaller. alpha: the
    probability that a gate fails although no true drop is larger.

    Raises SettingError for shares outside their domain, and RunError where a run is not finished or the two differ in
    data, attack, ids or labels.
    """
    began = time.perf_counter()
    check_share("max drop", max_drop)
    if not 0 < alpha < 0.5:
        raise SettingError(f"alpha must lie between 0 and 0.5, got {alpha:g}: leave it out for 0.05")
    now, then = read_saved_run(run), read_saved_run(baseline)
    found, stable = pair_runs(now, then)
    if not found[0].n:
        raise SettingError("run and baseline must hold images, got none that could be read: check the data")
    drops = assess_drops(found, max_drop, alpha)
    seconds = time.perf_counter() - began
    return Gate(_manifest_excerpt(now), _manifest_excerpt(then), drops, max_drop, alpha, require_evidence, stable, seconds)


def assess_drops(paired: Sequence[PairedRunCounts], max_drop: float, alpha: float = 0.05) -> tuple[DropTest, ...]:
    """A drop for each of these, judged together."""
    lost, gained, n = zip(*((at.lost, at.gained, at.n) for at in paired), strict=True)
    exceeds, p, levels = holm(drop_p_values(lost, gained, n, max_drop), alpha)
    within, _, upper_levels = holm(drop_p_values(gained, lost, n, -max_drop), alpha)
    low, high = drop_lower_bounds(lost, gained, n, levels), drop_upper_bounds(lost, gained, n, upper_levels)
    least = [detectable_drop(at.gained, at.n, max_drop, alpha / len(paired), TEST_POWER) for at in paired]
    columns = (p.tolist(), exceeds.tolist(), within.tolist(), low.tolist(), high.tolist(), least)
    return tuple(DropTest(at, *values) for at, *values in zip(paired, *columns, strict=True))


def _manifest_excerpt(run: SavedRun) -> Document:
    manifest = run.manifest.document
    own = {key: manifest[key] for key in ("model", "data", "attacks")}
    return {"path": str(run.manifest.directory), **own, "invalid_reasons": (run.result or {})["invalid_reasons"]}


def _run_to_dict(document: Mapping[str, Any]) -> Document:
    return {"path": document["path"], "model": document["model"]}


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
        "low": drop.low,
        "high": drop.high,
        "p": drop.p,
        "exceeds": drop.exceeds,
        "within": drop.within,
        "detectable": drop.detectable,
    }
