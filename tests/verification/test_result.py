"""Verdict, summary and document of a verification."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf


def up_to_the_label(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return rf.fgsm(model, x, y, epsilon, targeted=True)


def raising(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    raise ValueError("no images")


@pytest.fixture(scope="module")
def wrong() -> rf.Verification:
    return rf.verify(up_to_the_label, cases=["grey"])


def test_a_wrong_candidate(wrong: rf.Verification) -> None:
    assert (wrong.verdict, wrong.exit_code, wrong.tracebacks) == ("wrong", 1, [])
    (case,) = wrong.to_dict()["cases"]
    assert (case["name"], case["passed"]) == ("grey", False)
    assert case["detail"] == "2,048 of 2,048 pixels are wrong, by up to 0.087"


def test_summary_names_cases_and_remedies(wrong: rf.Verification) -> None:
    lines = wrong.summary.splitlines()
    assert lines[0] == "up_to_the_label is wrong: 0 of 1 cases pass"
    assert lines[1].startswith("  grey: ")
    assert lines[2].startswith("wrong-sign: the step descends the loss")
    assert lines[3].startswith("  remedy: ")


def test_strict_counts_harmless_findings(wrong: rf.Verification) -> None:
    harmless = replace(wrong, results=(), diagnosis=(), harmless_findings=wrong.diagnosis)
    assert (harmless.verdict, replace(harmless, strict=True).verdict) == ("right", "wrong")
    assert "wrong-sign" in replace(harmless, strict=True).summary
    assert "wrong-sign" not in harmless.summary


def test_lists_a_traceback_one_time() -> None:
    found = rf.verify(raising, cases=["grey"])
    assert len(found.results[0].observed_calls) == 4
    (traceback,) = found.tracebacks
    assert "no images" in traceback
    assert found.results[0].detail == "raises ValueError: no images"


def test_detail_of_a_passed_case() -> None:
    (result,) = rf.verify(rf.fgsm, cases=["wrong-before"]).results
    decided = int(torch.stack([judged.decidable for judged in result.judged_calls]).sum())
    assert result.detail == f"{decided:,} of {decided:,} pixels are right"
