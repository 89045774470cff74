"""Paired differences in robust accuracy between runs and the first run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from robustbench_fgsm.errors import FileError, RunError
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.runs.paired import PairedRunCounts, pair_runs
from robustbench_fgsm.runs.read import SavedRun, read_saved_run
from robustbench_fgsm.stats.paired import drop_lower_bounds, drop_upper_bounds

TAIL_PROBABILITY = 0.025
"""Beyond either end of a 95 % interval."""


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
            rows, stable = pair_runs(_require_saved_run(run), _require_saved_run(first))
        except (FileError, RunError) as error:
            reasons.append(f"{run.name} is not paired with {first.name}: {error}")
        else:
            shared = {"run": place, "gradient": "stable" if stable else "ordinary"}
            found += [shared | difference for difference in _differences_by_epsilon(rows)]
    return found, reasons


def _require_saved_run(run: LoadedRun) -> SavedRun:
    if run.directory is None:
        raise RunError(f"run must stand in a directory that --out made, got {run.name} without one: keep it with --out")
    return read_saved_run(run.directory)


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
