"""Stopped runs are loaded again from their manifests, with equal settings."""

from __future__ import annotations

from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.transfer_counts import TransferModels
from robustbench_fgsm.options import TransferOptions
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.resume import reload_evaluation_run, reload_transfer_run
from robustbench_fgsm.runs.transfer import TransferRun, transfer_in_directory
from robustbench_fgsm.spec import AttackSpec


def test_an_evaluation_has_equal_settings(run: EvaluationRun, tmp_path: Path) -> None:
    evaluate_in_directory(run, tmp_path, max_example_images=0)
    assert reload_evaluation_run(tmp_path, run.classifier, run.data).settings() == run.settings()


def test_a_transfer_has_equal_settings(classifier: rf.TorchClassifier, data: rf.ArrayDataset, tmp_path: Path) -> None:
    run = TransferRun(TransferModels((classifier,), (0,), (0,)), data, AttackSpec(), TransferOptions(common=True), 8, 3)
    transfer_in_directory(run, tmp_path)
    assert reload_transfer_run(tmp_path, [classifier], data).settings() == run.settings()


def test_rejects_a_directory_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(rf.RunError, match=r"without manifest\.json"):
        reload_evaluation_run(tmp_path)
