"""Summary of one run directory."""

from __future__ import annotations

from typing import Any

from robustbench_fgsm.report.documents.run_shown import summarize

RUN: dict[str, Any] = {"path": "a", "command": "train", "state": "complete", "done": 4, "pieces": 8, "damaged": 0}


def test_the_state_comes_first() -> None:
    assert summarize(RUN).heading == ("a: train, complete, 4 of 8 quarters of an epoch",)
    assert summarize(RUN | {"command": "sweep"}).heading == ("a: sweep, complete, 4 of 8 pieces",)
    assert summarize(RUN | {"pieces": None, "damaged": 2}).heading == (
        "a: train, complete",
        "Warning: 2 damaged parts of the ledger, whose pieces are done again",
    )


def test_samples_have_narrow_columns() -> None:
    sample = {"id": 3, f"after_{8 / 255!r}": 2, "minimal_epsilon": 4 / 255, "zero_gradient": True, "saturated": False}
    (sheet,) = summarize(RUN | {"samples": [sample]}).sheets
    assert sheet.columns == ("id", "after\n8/255", "fooled\nat", "zero", "saturated")
    assert sheet.rows == (("3", "2", "4/255", "yes", ""),)
