"""Summary of a lock that was written."""

from __future__ import annotations

from typing import Any

from robustbench_fgsm.report.documents.locked import summarize
from tests.report.printed import printed

RATE = {"value": 0.5, "count": 5, "n": 10, "low": 0.24, "high": 0.76}


def document(**changes: Any) -> dict[str, Any]:
    attack = {"targeted": "none", "epsilons": [4 / 255, 8 / 255], "clean_accuracy": RATE, "robust_accuracy": [RATE, RATE]}
    return {
        "schema": "rfgsm.locked/1",
        "path": "robustness.lock",
        "bytes": 1234,
        "model": {"spec": "mlp300", "weights": "standard"},
        "data": {"spec": "fashion-mnist"},
        "n": 10,
        "close": 1,
        "attacks": [attack, attack | {"targeted": "next"}],
        "warnings": [],
    } | changes


def test_says_what_is_locked_and_what_to_do() -> None:
    text = printed(document())
    assert "mlp300 (standard) on 10 images of fashion-mnist" in text
    assert "WROTE robustness.lock: 1,234 bytes." in text
    assert "rfgsm gate NEW --baseline robustness.lock" in " ".join(text.split())
    assert "1 image with a prediction that depends on rounding" in text


def test_has_a_row_for_each_budget_and_rule() -> None:
    (sheet,) = summarize(document()).sheets
    assert [row[:2] for row in sheet.rows] == [
        ("clean", None),
        *((epsilon, rule) for rule in (None, "next") for epsilon in ("4/255", "8/255")),
    ]


def test_warnings_come_last() -> None:
    assert "Warning: too many" in printed(document(warnings=["too many"]))
