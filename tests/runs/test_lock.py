"""Write the lock of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.lock_file import read_lock


def test_writes_what_became_of_each_image(run: EvaluationRun, tmp_path: Path) -> None:
    document = evaluate_in_directory(run, tmp_path / "run")
    written = rf.lock(tmp_path / "run", tmp_path / "robustness.lock")
    assert isinstance(written, rf.WrittenLock)
    found = written.to_dict()
    Draft202012Validator(load_schema("locked")).validate(found)
    assert found["bytes"] == (tmp_path / "robustness.lock").stat().st_size
    for ours, theirs in zip(found["attacks"], document["evaluations"], strict=True):
        assert ours["clean_accuracy"] == theirs["clean"]["accuracy"]
        assert ours["robust_accuracy"] == [at.get("stable", at)["robust_accuracy"] for at in theirs["epsilons"]]
    assert read_lock(tmp_path / "robustness.lock").n == document["evaluations"][0]["n"]


def test_many_predictions_that_rest_on_rounding_give_a_warning(run: EvaluationRun, tmp_path: Path) -> None:
    evaluate_in_directory(run, tmp_path / "run")
    written = rf.lock(tmp_path / "run", tmp_path / "robustness.lock")
    attack = written.lock.attacks[0]
    lock = replace(written.lock, attacks=(replace(attack, close=np.ones_like(attack.close)),))
    (warning,) = replace(written, lock=lock).warnings
    assert "too many to count as ties" in warning
