"""Sentences and table of the checks beside FGSM."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.report.documents.checks import UNCHECKED_NOTE, check_sentences, masking_sheet

Document = dict[str, Any]


def rate(value: float) -> Document:
    return {"value": value, "count": round(100 * value), "n": 100, "low": value - 0.1, "high": value + 0.1}


def checked(rule: str = "none", overstated: float | None = 0.2) -> Document:
    lead = {"value": overstated, "low": 0.1, "high": 0.3}
    found = {"targeted": rule, "epsilon": 8 / 255, "n": 100, "steps": 20, "fgsm": rate(0.5), "pgd": rate(0.3)}
    return {"pgd_check": found | {"overstated": lead, "weak_attack": True}}


def masking(verdict: str, mean: float | None) -> Document:
    check = {"name": "random", "verdict": verdict, "p": 0.01, "counts": {"random_fools": 12}, "evidence": "random fools more"}
    alignment = {"mean": mean, "low": None, "high": None, "n": 100, "undefined": 3}
    found = {"right": 90, "epsilon": 8 / 255, "threshold": 0.025, "level": 0.05, "checks": [check], "alignment": alignment}
    return checked() | {"masking_check": found}


def test_names_a_missing_check() -> None:
    assert list(check_sentences({})) == [UNCHECKED_NOTE]


@pytest.mark.parametrize(
    ("rule", "overstated", "words"),
    [
        ("none", 0.2, "FGSM overstates robust accuracy by 20.0 points [10.0, 30.0] at epsilon 8/255, on 100 images"),
        ("next", 0.2, "FGSM understates attack success by 20.0 points [10.0, 30.0] at epsilon 8/255, targeted next"),
        ("none", None, "FGSM overstates robust accuracy by n/a"),
    ],
)
def test_pgd(rule: str, overstated: float | None, words: str) -> None:
    (sentence,) = check_sentences(checked(rule, overstated))
    assert sentence.startswith(words)


def test_masking_is_found_or_not() -> None:
    assert list(check_sentences(masking("masking", 0.9)))[2:] == [
        "masking: FOUND by 1 of 1 signs: random fools more.",
        "Gradient alignment 0.900, n=100 (3 with a gradient of zero): near 1 the loss is linear in the ball, "
        "near 0 one gradient says nothing of the next.",
    ]
    assert list(check_sentences(masking("none", None)))[2:] == [
        "masking: none of the 1 signs looked for, at a level of 5 % for all together.",
        "Gradient alignment n/a: the gradients of all 3 images are zero.",
    ]


def test_masking_tests_in_a_table() -> None:
    (sheet,) = masking_sheet(masking("masking", 0.9))
    assert sheet.rows == (("random", "masking", "0.01", "random fools 12"),)
    assert list(masking_sheet(checked())) == []
