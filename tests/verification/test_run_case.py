"""Whatever a candidate does in a case is its result: it raises, hangs, returns something else, or spoils its network."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from tests.verification.conftest import checked, right


def test_continues_after_an_exception() -> None:
    def grey_only(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if x.shape[1] != 1:
            raise ValueError("grey images only")
        return right(model, x, y, epsilon)

    document = checked(rf.verify(grey_only))
    assert (document["verdict"], document["exit_code"]) == ("wrong", 1)
    passed = {case["name"]: case["passed"] for case in document["cases"]}
    assert passed["grey"] is True
    assert passed["colour"] is False
    assert passed["not-finite"] is True
    (finding,) = document["diagnosis"]
    assert finding["cause"] == "raises"
    assert "in case colour it raises ValueError: grey images only" in finding["evidence"]


@pytest.mark.parametrize(
    ("result", "evidence"),
    [
        (lambda x: x[:, :, :4], "(8, 1, 4, 8)"),
        (lambda x: 0.5, "float"),
        (lambda x: (x, x), "a tuple of 2"),
        (lambda x: None, "NoneType"),
        (lambda x: (x * 255).to(torch.uint8), "torch.uint8"),
        (lambda x: x * float("nan"), "NaN"),
        (lambda x: np.zeros(3), "(3,)"),
    ],
    ids=["shape", "scalar", "tuple", "none", "dtype", "nan", "array"],
)
def test_names_a_wrong_result(result: Any, evidence: str) -> None:
    def other(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> object:
        return result(x)

    found = rf.verify(other, cases=["grey"])
    assert (found.verdict, [finding.cause for finding in found.diagnosis]) == ("wrong", ["wrong-result"])
    assert evidence in found.diagnosis[0].evidence
    checked(found)


def test_stops_at_the_time_limit() -> None:
    def slow(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if x.shape[1] == 1:
            time.sleep(60)
        return right(model, x, y, epsilon)

    began = time.monotonic()
    found = rf.verify(slow, cases=["grey", "colour"], time_limit=0.2)
    assert time.monotonic() - began < 30
    assert [result.passed for result in found.results] == [False, True]
    assert [finding.cause for finding in found.diagnosis] == ["time-limit"]


def test_candidate_spoils_its_copy_only() -> None:
    def deleting(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = right(model, x, y, epsilon)
        del model.network.body[-1].weight
        return x_adv

    found = rf.verify(deleting, cases=["grey", "wrong-before"])
    assert [result.passed for result in found.results] == [False, False]
    assert "added or removed" in found.results[1].detail  # its first call was right, on a network that was whole
    assert "wrong, by up to" not in found.results[1].detail
    assert found.diagnosis[0].cause == "changes-model"
