"""Readings name a remedy, and values are found by their most common size."""

from __future__ import annotations

import math

import pytest
import torch

from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID
from robustbench_fgsm.verification.stage_result import most_common_value, numbers_text, ok, rounded, unmeasured, wrong


def test_remedies() -> None:
    assert wrong("clip", "no-clip", "none").remedy == MISTAKE_BY_ID["no-clip"].remedy
    assert wrong("clip", None, "none", fix="clip it").remedy == "clip it"
    assert ok("clip", "to [0, 1]").remedy == unmeasured("clip", "nothing moved").remedy == ""
    assert wrong("size", None, "half", factor=0.5).to_dict() == {
        "stage": "size",
        "verdict": "wrong",
        "cause": None,
        "measured": {"factor": 0.5},
        "expected": "",
        "text": "half",
        "remedy": "compare this stage with rf.fgsm",
    }


def test_the_most_common_value() -> None:
    values = torch.tensor([0.1, 0.5, 0.50001, 0.5, 0.9])
    value, share = most_common_value(values)
    assert value == pytest.approx(0.5)
    assert share == pytest.approx(0.6)
    assert math.isnan(most_common_value(torch.zeros(0))[0])


def test_numbers_in_words() -> None:
    assert numbers_text([0.5, 0.5001]) == "0.5"
    assert numbers_text(torch.tensor([0.229, 0.224])) == "0.229, 0.224"
    assert rounded(torch.tensor([[0.123456]])) == [[0.1235]]
