"""Summary of a list of run directories."""

from __future__ import annotations

from robustbench_fgsm.report.documents.runs import summarize


def test_each_run_has_a_row() -> None:
    run = {"path": "a", "command": "sweep", "state": "interrupted", "done": 1, "pieces": 3}
    subject = {"model": "mlp300", "weights": "standard", "data": "fashion-mnist"}
    nothing = {"done": None, "pieces": None, "model": None, "weights": None, "data": None}
    (sheet,) = summarize({"runs": [run | subject, run | nothing]}).sheets
    assert sheet.rows == (
        ("a", "sweep", "interrupted", "33 %", "mlp300 standard", "fashion-mnist"),
        ("a", "sweep", "interrupted", "", "", ""),
    )


def test_no_run_is_a_sentence() -> None:
    assert summarize({"runs": []}).heading == ("no run here, nor in the directories below",)
