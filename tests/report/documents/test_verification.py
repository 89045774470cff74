"""Summary of the verification of a candidate."""

from __future__ import annotations

from typing import Any

from robustbench_fgsm.report.documents.verification import summarize
from tests.report.printed import printed

DOCUMENT: dict[str, Any] = {
    "schema": "rfgsm.verification/1",
    "candidate": {"name": "mine.py:fgsm", "style": "plain"},
    "strict": True,
    "cases": [
        {"name": "sign", "passed": True, "about": "follows the sign", "detail": ""},
        {"name": "clip", "passed": False, "about": "clips", "detail": "3 pixels [left] " * 10},
    ],
    "verdict": "wrong",
    "diagnosis": [{"cause": "no-clip", "evidence": "equal images", "remedy": "clip them"}],
    "warnings": [{"cause": "slow", "evidence": "3 s"}],
}


def test_each_case_has_a_row() -> None:
    (sheet,) = summarize(DOCUMENT).sheets
    assert sheet.rows == (("sign", "pass", "follows the sign"), ("clip", "FAIL", "3 pixels [left] " * 10))


def test_verdict_precedes_its_causes() -> None:
    lines = printed(DOCUMENT).splitlines()
    assert lines[0] == "mine.py:fgsm, style plain, strict"
    assert lines[-5:] == ["WRONG: 1 of 2 cases pass.", "no-clip", "  equal images.", "  Remedy: clip them.", "Warning: slow: 3 s."]
    assert max(map(len, lines)) <= 80
