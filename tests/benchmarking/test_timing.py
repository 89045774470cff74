"""Contenders take turns, each as often as the others, and one that fails does not stop the rest."""

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


def test_each_is_called_once_a_round_and_once_to_warm_up_and_the_order_moves_on() -> None:
    calls: list[tuple[str, TimedTask]] = []
    lanes = time_contenders(runners(calls), [ATTACK, JOB], 3)
    rounds = ["abc", "bca", "cab", "abc"]
    assert calls == [(name, task) for order in rounds for task in (ATTACK, JOB) for name in order]
    assert [(lane.name, len(lane.seconds[ATTACK]), len(lane.seconds[JOB])) for lane in lanes] == [(name, 3, 3) for name in NAMES]


def test_every_order_begins_with_another_until_all_have_begun() -> None:
    lanes = [ContenderTimings(name) for name in NAMES]
    assert ["".join(lane.name for lane in round_order(lanes, number)) for number in range(4)] == ["abc", "bca", "cab", "abc"]


@pytest.mark.parametrize("fails_at", [1, 5])
def test_one_that_fails_is_out_and_says_why_in_one_line(fails_at: int) -> None:
    calls: list[tuple[str, TimedTask]] = []
    made = runners(calls)
    healthy = made["b"]

    def run(task: TimedTask) -> int | BareResult:
        healthy(task)
        if sum(name == "b" for name, _ in calls) == fails_at:
            raise RuntimeError("no memory\nat all")
        return 7

    lanes = time_contenders(made | {"b": run}, [ATTACK, JOB], 3)
    assert [lane.error for lane in lanes] == ["", "RuntimeError: no memory at all", ""]
    assert [sum(name == other for name, _ in calls) for other in NAMES] == [8, fails_at, 8]
    assert (lanes[1].time_summary(ATTACK), lanes[1].time_ratio(ATTACK, lanes[0])) == (None, None)
    assert lanes[0].time_ratio(ATTACK, lanes[1]) is None
    assert lanes[2].time_ratio(JOB, lanes[0]) is not None


def test_ratios_are_taken_within_a_round() -> None:
    slow, unit = ContenderTimings("slow", seconds={JOB: [2.0, 6.0, 4.0]}), ContenderTimings("unit", seconds={JOB: [1.0, 2.0, 4.0]})
    assert slow.time_ratio(JOB, unit) == TimingSummary(2.0, 1.0, 3.0)
    assert slow.time_summary(JOB) == TimingSummary(4.0, 2.0, 6.0)
    assert TimingSummary(4.0, 2.0, 6.0).relative_range == 1.0


@pytest.mark.parametrize(("answers", "steady"), [([5, 5, 5], True), ([5, 5, 6], False)])
def test_an_answer_that_changes_is_seen(answers: list[int], steady: bool) -> None:
    given = iter(answers)
    (lane,) = time_contenders({"a": lambda task: next(given)}, [JOB], 2)
    assert (lane.consistent, lane.results[JOB], lane.error) == (steady, 5, "")


def test_the_device_is_waited_for_before_and_after_and_steps_are_counted() -> None:
    order: list[str] = []

    def noted(word: str) -> Callable[[], None]:
        return lambda: order.append(word)

    def run(task: TimedTask) -> int:
        order.append("run")
        return 1

    time_contenders({"a": run}, [JOB], 1, synchronise=noted("wait"), on_task_done=noted("step"))
    assert order == ["wait", "run", "wait", "step"] * 2
