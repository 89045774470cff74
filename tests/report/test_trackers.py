"""Numbers and pages for MLflow and Weights & Biases, tested against local stores."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.report.trackers import PAGE_FILE, gate_numbers, log_to_active_runs

NUMBERS = {"rfgsm_accuracy_eps_8_255": 0.5}


@pytest.fixture(scope="module")
def evaluation(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> dict[str, Any]:
    return rf.evaluate(classifier, images.head(20)).to_dict()


def drop(label: int | None, epsilon: float | None, targeted: str = "none") -> dict[str, Any]:
    return {"label": label, "epsilon": epsilon, "targeted": targeted, "accuracy": {"value": 0.4}, "drop": 0.1}


def test_numbers_are_those_over_all_images() -> None:
    drops = [drop(None, None), drop(0, None), drop(None, 8 / 255), drop(None, 0.01, "class:cat")]
    found = gate_numbers({"verdict": "passed", "drops": drops})
    assert list(found) == [
        "rfgsm_passed",
        *("rfgsm_accuracy_clean", "rfgsm_drop_clean"),
        *("rfgsm_accuracy_eps_8_255", "rfgsm_drop_eps_8_255"),
        *("rfgsm_accuracy_eps_0.01_class_cat", "rfgsm_drop_eps_0.01_class_cat"),
    ]
    assert all(re.fullmatch(r"[\w.-]+", name) for name in found)
    assert set(found.values()) == {1.0, 0.4, 0.1}


def test_libraries_that_are_not_imported_stay_so() -> None:
    code = (
        "import sys; from robustbench_fgsm.report.trackers import log_to_active_runs; "
        "print(log_to_active_runs({'a': 1.0}, {}), 'mlflow' in sys.modules, 'wandb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False", "False"]


def test_an_active_mlflow_run_gets_numbers_and_page(
    evaluation: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    assert log_to_active_runs(NUMBERS, evaluation) == []
    with mlflow.start_run() as run:
        assert log_to_active_runs(NUMBERS, evaluation) == ["mlflow"]
    assert mlflow.get_run(run.info.run_id).data.metrics == NUMBERS
    (page,) = tmp_path.rglob(PAGE_FILE)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_an_active_wandb_run_gets_numbers_and_page(
    evaluation: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    with wandb.init(mode="offline", dir=tmp_path, project="test") as run:
        assert log_to_active_runs(NUMBERS, evaluation) == ["wandb"]
        assert run.summary["rfgsm_accuracy_eps_8_255"] == 0.5
    assert any(tmp_path.rglob("rfgsm_page*.html"))
