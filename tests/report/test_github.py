"""What GitHub Actions reads: annotations, the summary of a job, and a badge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.report.github import append_job_summary, error_annotation, gate_badge, is_github_job


def test_annotation_escapes_what_would_end_it() -> None:
    assert error_annotation("50 % lost\n::stop-commands::x", file="a,b:c.py", line=3, title="t") == (
        "::error file=a%2Cb%3Ac.py,line=3,title=t::50 %25 lost%0A::stop-commands::x"
    )
    assert error_annotation("a\x1b[1m\rb", title="x\u202e:") == r"::error title=x\u202e%3A::a\x1b[1m\rb"
    assert error_annotation("lost") == "::error title=rfgsm::lost"


@pytest.mark.parametrize(("value", "found"), [("true", True), ("", False), ("false", False)])
def test_knows_a_job(monkeypatch: pytest.MonkeyPatch, value: str, found: bool) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", value)
    assert is_github_job() is found


def test_summaries_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    append_job_summary("nowhere")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    append_job_summary("one\n")
    append_job_summary("two")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == "one\n\ntwo\n\n"


def drop(label: int | None, epsilon: float | None, value: float) -> dict[str, Any]:
    return {"label": label, "epsilon": epsilon, "accuracy": {"value": value}}


@pytest.mark.parametrize(("verdict", "colour"), [("passed", "brightgreen"), ("failed", "red")])
def test_badge_shows_the_largest_budget(verdict: str, colour: str) -> None:
    drops = [drop(None, None, 0.9), drop(None, 8 / 255, 0.45), drop(None, 2 / 255, 0.7), drop(0, 8 / 255, 0.1)]
    assert gate_badge({"verdict": verdict, "drops": drops}) == {
        "schemaVersion": 1,
        "label": "accuracy under FGSM, 8/255",
        "message": "45.0 %",
        "color": colour,
    }
