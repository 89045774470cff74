"""Evaluations as data frames: every number is that of the document."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

import robustbench_fgsm as rf
from tests.report.conftest import subject


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_every_rate_of_a_sweep_is_in_its_row(scale: float) -> None:
    found = rf.sweep(*subject(scale), "4,64/255", targeted=["none", "next"])
    frame = rf.to_pandas(found)
    rows = iter(frame.to_dict("records"))
    for evaluation in found:
        document = evaluation.to_dict()
        for at in document["epsilons"]:
            for gradient, side in (
                ("ordinary", at),
                *([("stable where saturated", at["stable"])] if "stable" in at else []),
            ):
                for result in (side | {"label": None, "n": document["n"]}, *side["per_class"]):
                    row = next(rows)
                    assert (row["targeted"], row["epsilon"]) == (document["attack"]["targeted"], at["epsilon"])
                    assert (row["gradient"], row["n"]) == (gradient, result["n"])
                    assert row["label"] is pd.NA if result["label"] is pd.NA else row["label"] == result["label"]
                    for rate in ("robust_accuracy", "attack_success_rate"):
                        for part, number in result[rate].items():
                            cell = row[rate if part == "value" else f"{rate}_{part}"]
                            assert pd.isna(cell) if number is None else cell == number
                    correct = result.get("clean_correct", document["clean"]["accuracy"]["count"])
                    assert row["clean_accuracy_count"] == correct
    assert next(rows, None) is None
    assert ("stable where saturated" in set(frame.gradient)) == (scale > 1)
    assert frame.dtypes["label"] == "Int64"
    assert frame.dtypes["robust_accuracy_low"] == "float64"
    pd.testing.assert_frame_equal(found[0].to_pandas(), frame[frame.targeted == "none"].reset_index(drop=True))


def test_without_pandas_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(rf.SettingError, match=r"got none installed: pip install 'robustbench-fgsm\[pandas\]'"):
        rf.evaluate(*subject(1.0)).to_pandas()
