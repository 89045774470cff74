"""The verdict follows from the stages, and the result is one line in a notebook."""

from __future__ import annotations

import pytest

import robustbench_fgsm as rf
from tests.verification.conftest import attack, checked, right


@pytest.fixture(scope="module")
def wrong() -> rf.Verification:
    return rf.verify(attack(size=lambda epsilon: epsilon / 2, clip=lambda moved, x: moved))


def test_a_wrong_candidate(wrong: rf.Verification) -> None:
    document = checked(wrong)
    assert (document["verdict"], document["exit_code"]) == ("wrong", 1)
    assert [stage["stage"] for stage in document["stages"] if stage["verdict"] == "wrong"] == ["size", "clip"]
    size = next(stage for stage in document["stages"] if stage["stage"] == "size")
    assert size["measured"]["by_channel"] == pytest.approx([0.5] * 3)
    assert {call["name"] for call in document["calls"]} > {"rows", "size", "transformer"}


def test_summary_and_representation(wrong: rf.Verification) -> None:
    assert repr(wrong) == "Verification: fgsm, style plain\n  WRONG: size, clip; 7 of 9 stages are right."
    lines = wrong.summary.splitlines()
    assert lines[0] == "fgsm is wrong"
    assert sum("remedy: " in line for line in lines) == 2


def test_strict_counts_what_is_harmless() -> None:
    def attached(*args: object) -> object:
        return right(*args).requires_grad_()  # type: ignore[arg-type]

    found = rf.verify(attached)
    assert found.verdict == "right"
    assert "graph-attached" in {one.cause for one in found.harmless}
    strict = rf.verify(attached, strict=True)
    assert (strict.verdict, strict.exit_code) == ("wrong", 1)
    assert "graph-attached" in strict.summary
    accepted = rf.verify(attached, strict=True, expect=[one.cause for one in found.harmless if one.cause])
    assert accepted.verdict == "right"


def test_lists_a_traceback_one_time() -> None:
    def broken(*_: object) -> None:
        raise ValueError("and then this")

    found = rf.verify(broken)
    assert found.verdict == "incomplete"
    assert sum("and then this" in trace for trace in found.tracebacks) == len(found.tracebacks) >= 1
    assert len(set(found.tracebacks)) == len(found.tracebacks)
