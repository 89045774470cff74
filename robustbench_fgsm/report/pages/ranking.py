"""Runs beside each other, by robust accuracy, with their paired differences to the first run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustbench_fgsm.errors import DataError, FileError, RunError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.attacks_in_runs import ReportedAttack
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.tables.text import epsilon_text
from robustbench_fgsm.runs.pair_outcomes import PairedRunCounts, pair_outcomes
from robustbench_fgsm.runs.read import read_saved_run
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, outcomes_of_run
from robustbench_fgsm.stats.paired import drop_lower_bounds, drop_upper_bounds

TAIL_PROBABILITY = 0.025
"""Beyond either end of a 95 % interval."""

SIDES = ("ordinary", "stable")


@dataclass(frozen=True)
class RankedRun:
    """One row of a ranking: an attack of a run at one budget, with the place of its rates in the document."""

    name: str
    at: str
    side: Document
    clean: Document
    clean_at: str
    difference: str

    @property
    def worst(self) -> Document | None:
        """Return the class with the lowest robust accuracy."""
        place = self.side["worst_class"]
        return None if place is None else self.side["per_class"][place]


@dataclass(frozen=True)
class Ranking:
    """The runs at one budget, the most robust first. keys: the attacks, budgets and gradients for which a page shows it."""

    name: str
    keys: str
    rows: tuple[RankedRun, ...]


def rank_runs(subjects: Sequence[ReportedAttack], pairs: Sequence[Mapping[str, Any]]) -> list[Ranking]:
    """Return a ranking for each targeting rule, norm, budget and kind of gradient; runs without the budget are left out."""
    shown: dict[tuple[str, str, float, str], list[str]] = {}
    for place, subject in enumerate(subjects):
        attack = subject.evaluation["attack"]
        for index, at in enumerate(subject.evaluation["epsilons"]):
            for side in SIDES if "stable" in at else SIDES[:1]:
                shown.setdefault((attack["targeted"], attack["norm"], at["epsilon"], side), []).append(f"{place}/{index}/{side}")
    found = []
    for (targeted, norm, epsilon, side), keys in shown.items():
        alike = [one for one in subjects if (one.target_rule, one.evaluation["attack"]["norm"]) == (targeted, norm)]
        rows = [row for one in alike for row in _ranked(one, epsilon, side, pairs)]
        rows.sort(key=lambda row: -1 if row.side["robust_accuracy"]["value"] is None else row.side["robust_accuracy"]["value"])
        name = f"epsilon {epsilon_text(epsilon)}{', stable gradients' if side == 'stable' else ''}"
        found.append(Ranking(name if targeted == "none" else f"targeted {targeted}, {name}", " ".join(keys), tuple(rows[::-1])))
    return found


def _ranked(subject: ReportedAttack, epsilon: float, side: str, pairs: Sequence[Mapping[str, Any]]) -> Iterator[RankedRun]:
    for index, at in enumerate(subject.evaluation["epsilons"]):
        if at["epsilon"] == epsilon:
            stable = side == "stable" and "stable" in at
            where = subject.pointer(f"epsilons/{index}/{'stable/' if stable else ''}")
            keys = (subject.run_index, subject.target_rule, epsilon)
            pair = next((one for one in pairs if (one["run"], one["targeted"], one["epsilon"]) == keys), None)
            clean = subject.evaluation["clean"]["accuracy"]
            yield RankedRun(
                f"{subject.name}{', stable' if stable else ''}",
                where,
                at["stable"] if stable else at,
                clean,
                subject.pointer("clean/accuracy"),
                "first" if subject.run_index == 0 else _difference_text(pair),
            )


def _difference_text(pair: Mapping[str, Any] | None) -> str:
    if pair is None:
        return "–"
    value, low, high = (f"{100 * pair[key]:+.1f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]{', stable' if pair['gradient'] == 'stable' else ''}"


def paired_differences(runs: Sequence[LoadedRun]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the robust accuracy of each run minus that of the first, and the reason for each run without a difference.

    A difference has `run` (its place), `targeted`, `epsilon`, `gradient`, `n`, `value` and its 95 % interval, `low` to
    `high`, each by itself: the bounds are those of a gate.
    """
    if len(runs) < 2:
        return [], []
    found: list[dict[str, Any]] = []
    reasons: list[str] = []
    first = runs[0]
    for place, run in enumerate(runs[1:], 1):
        try:
            rows, stable = pair_outcomes(_require_outcomes(run), _require_outcomes(first), with_ties=False)
        except (DataError, FileError, RunError) as error:
            reasons.append(f"{run.name} is not paired with {first.name}: {error}")
        else:
            shared = {"run": place, "gradient": "stable" if stable else "ordinary"}
            found += [shared | difference for difference in _differences_by_epsilon(rows)]
    return found, reasons


def _require_outcomes(run: LoadedRun) -> RobustnessLock:
    if run.directory is None:
        raise RunError(f"run must be in a directory that --out made, got {run.name} without one: keep it with --out")
    return outcomes_of_run(read_saved_run(run.directory))


def _differences_by_epsilon(rows: Sequence[PairedRunCounts]) -> Iterator[dict[str, Any]]:
    for at in rows:
        if at.label is None and at.epsilon is not None and at.n:
            low, high = (bounds(at.gained, at.lost, at.n, TAIL_PROBABILITY) for bounds in (drop_lower_bounds, drop_upper_bounds))
            yield {
                "targeted": at.targeted,
                "epsilon": at.epsilon,
                "n": at.n,
                "value": -at.drop,
                "low": float(low),
                "high": float(high),
            }
