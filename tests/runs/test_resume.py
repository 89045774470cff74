"""Stopped runs are loaded again from their manifests, with equal settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.transfer_counts import TransferModels
from robustbench_fgsm.options import TransferOptions
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.ledger import ledger_name
from robustbench_fgsm.runs.resume import reload_evaluation_run, reload_transfer_run
from robustbench_fgsm.runs.transfer import TransferRun, transfer_in_directory
from robustbench_fgsm.spec import AttackSpec


def test_an_evaluation_has_equal_settings(run: EvaluationRun, tmp_path: Path) -> None:
    evaluate_in_directory(run, tmp_path, max_example_images=0)
    assert reload_evaluation_run(tmp_path, run.classifier, run.data).settings() == run.settings()


def test_a_run_with_distances_continues_with_its_own(run: EvaluationRun, tmp_path: Path) -> None:
    """A run that lost its last record measures this piece again, and then has the distances of a run that was never stopped."""
    measured = replace(run, specs=tuple(replace(spec, max_epsilon=0.5) for spec in run.specs))
    whole = evaluate_in_directory(measured, tmp_path / "whole", max_example_images=0)
    evaluate_in_directory(measured, tmp_path / "cut", max_example_images=0)
    (tmp_path / "cut" / "result.json").unlink()
    ledger = tmp_path / "cut" / ledger_name(0)
    ledger.write_bytes(ledger.read_bytes()[:-20])
    again = evaluate_in_directory(reload_evaluation_run(tmp_path / "cut", run.classifier, run.data), tmp_path / "cut")
    first, second = ([one["distance"] for one in document["evaluations"]] for document in (whole, again))
    assert first[0]["n"] == len(run.data)
    assert first[0]["stable"]["n"] == len(run.data)
    assert first == second


def test_a_transfer_has_equal_settings(classifier: rf.TorchClassifier, data: rf.ArrayDataset, tmp_path: Path) -> None:
    run = TransferRun(TransferModels((classifier,), (0,), (0,)), data, AttackSpec(), TransferOptions(common=True), 8, 3)
    transfer_in_directory(run, tmp_path)
    assert reload_transfer_run(tmp_path, [classifier], data).settings() == run.settings()


def test_rejects_a_directory_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(rf.RunError, match=r"without manifest\.json"):
        reload_evaluation_run(tmp_path)
