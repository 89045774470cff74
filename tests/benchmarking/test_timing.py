"""Contenders take turns, and a contender that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from robustbench_fgsm.benchmarking.bare_loop import BareResult
from robustbench_fgsm.benchmarking.timing import (
    ContenderTimings,
    TaskRunner,
    TimedTask,
    TimingSummary,
    round_order,
    time_contenders,
)

ATTACK, JOB = TimedTask("attack", (0.1,)), TimedTask("job", (0.1,))
NAMES = ("a", "b", "c")


def runners(calls: list[tuple[str, TimedTask]], names: tuple[str, ...] = NAMES) -> dict[str, TaskRunner]:
    """One for each name, which writes down that it was called."""

    def runner(name: str) -> TaskRunner:
        def run(task: TimedTask) -> int:
            calls.append((name, task))
            return 7

        return run

    return {name: runner(name) for name in names}


def test_order_moves_on_each_round() -> None:
    calls: list[tuple[str, TimedTask]] = []
    timings = time_contenders(runners(calls), [ATTACK, JOB], 3)
    rounds = ["abc", "bca", "cab", "abc"]
    assert calls == [(name, task) for order in rounds for task in (ATTACK, JOB) for name in order]
    assert [(one.name, len(one.seconds[ATTACK]), len(one.seconds[JOB])) for one in timings] == [(name, 3, 3) for name in NAMES]


def test_round_order() -> None:
    timings = [ContenderTimings(name) for name in NAMES]
    assert ["".join(one.name for one in round_order(timings, number)) for number in range(4)] == ["abc", "bca", "cab", "abc"]


@pytest.mark.parametrize("fails_at", [1, 5])
def test_failed_contender_is_not_repeated(fails_at: int) -> None:
    calls: list[tuple[str, TimedTask]] = []
    made = runners(calls)
    healthy = made["b"]

    def run(task: TimedTask) -> int | BareResult:
        healthy(task)
        if sum(name == "b" for name, _ in calls) == fails_at:
            raise RuntimeError("no memory\nat all")
        return 7

    timings = time_contenders(made | {"b": run}, [ATTACK, JOB], 3)
    assert [one.error for one in timings] == ["", "RuntimeError: no memory at all", ""]
    assert [sum(name == other for name, _ in calls) for other in NAMES] == [8, fails_at, 8]
    assert (timings[1].time_summary(ATTACK), timings[1].time_ratio(ATTACK, timings[0])) == (None, None)
    assert timings[0].time_ratio(ATTACK, timings[1]) is None
    assert timings[2].time_ratio(JOB, timings[0]) is not None


def test_ratios_within_a_round() -> None:
    slow, unit = ContenderTimings("slow", seconds={JOB: [2.0, 6.0, 4.0]}), ContenderTimings("unit", seconds={JOB: [1.0, 2.0, 4.0]})
    assert slow.time_ratio(JOB, unit) == TimingSummary(2.0, 1.0, 3.0)
    assert slow.time_summary(JOB) == TimingSummary(4.0, 2.0, 6.0)
    assert TimingSummary(4.0, 2.0, 6.0).relative_range == 1.0


@pytest.mark.parametrize(("results", "consistent"), [([5, 5, 5], True), ([5, 5, 6], False)])
def test_inconsistent_results(results: list[int], consistent: bool) -> None:
    given = iter(results)
    (one,) = time_contenders({"a": lambda task: next(given)}, [JOB], 2)
    assert (one.consistent, one.results[JOB], one.error) == (consistent, 5, "")


def test_synchronises_and_counts_tasks() -> None:
    order: list[str] = []

    def noted(word: str) -> Callable[[], None]:
        return lambda: order.append(word)

    def run(task: TimedTask) -> int:
        order.append("run")
        return 1

    time_contenders({"a": run}, [JOB], 1, synchronise=noted("wait"), on_task_done=noted("step"))
    assert order == ["wait", "run", "wait", "step"] * 2
