"""Page of a gate and of other documents without a page of their own."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.page import build_page
from robustbench_fgsm.report.summarize import summarize
from tests.report.pages.test_evaluations import embedded
from tests.report.runs import HOSTILE, run


@pytest.fixture(scope="module")
def gates(rivals: list[LoadedRun]) -> dict[str, dict[str, Any]]:
    """The documents of a gate that passes and of one that fails."""
    better, worse = (run.directory for run in (rivals[0], rivals[2]))
    assert better is not None
    assert worse is not None
    documents = [json.loads(json.dumps(found.to_dict())) for found in (rf.gate(better, worse), rf.gate(worse, better))]
    return {document["verdict"]: document for document in documents}


@pytest.mark.parametrize(("verdict", "tone"), [("passed", "good"), ("failed", "bad")])
def test_a_gate_has_its_verdict_and_its_tables(gates: dict[str, dict[str, Any]], verdict: str, tone: str) -> None:
    document = gates[verdict]
    text = build_page([run(document, "gate")])
    summary = summarize(document)
    assert f'{tone}">{html.escape(summary.verdict)}' in text
    assert embedded(text)["document"] == document
    for sheet in summary.sheets:
        assert text.count(html.escape(sheet.title)) >= 1
    assert text == build_page([run(document, "gate")])


def test_names_stay_text(gates: dict[str, dict[str, Any]]) -> None:
    document = json.loads(json.dumps(gates["passed"]))
    document["run"]["model"]["spec"] = HOSTILE
    assert HOSTILE not in build_page([run(document, HOSTILE)])
