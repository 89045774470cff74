"""Runs are found, and their state and progress are read from their directories."""

from __future__ import annotations

from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.files.directory_lock import lock_directory
from robustbench_fgsm.runs.directory import RESULT_FILE
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.read import find_runs, read_manifest_and_result, read_run_state, read_saved_run, summarize_run


@pytest.fixture
def directory(run: EvaluationRun, tmp_path: Path) -> Path:
    """The directory of a finished run."""
    evaluate_in_directory(run, tmp_path / "deep/run", max_example_images=0)
    return tmp_path / "deep/run"


def test_finds_runs_below_a_directory(directory: Path) -> None:
    assert find_runs(directory.parents[1]) == find_runs(directory) == [directory]


def test_rejects_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(rf.RunError, match="runs are listed below a directory"):
        find_runs(tmp_path / "missing")


def test_state_follows_result_and_lock(directory: Path) -> None:
    assert read_run_state(directory) == "complete"
    (directory / RESULT_FILE).unlink()
    assert read_run_state(directory) == "interrupted"
    with lock_directory(directory):
        assert read_run_state(directory) == "started"


def test_a_run_without_result_has_records(directory: Path, run: EvaluationRun) -> None:
    (directory / RESULT_FILE).unlink()
    saved = read_saved_run(directory)
    assert saved.result is None
    assert sum(len(record) for record in saved.records()) == len(run.data)
    assert read_manifest_and_result(directory)["result"] is None


def test_a_summary_names_run_and_progress(directory: Path, run: EvaluationRun) -> None:
    found = summarize_run(directory)
    assert (found["command"], found["state"], found["n"]) == ("sweep", "complete", 250)
    assert (found["pieces"], found["done"], found["damaged"]) == (len(run.pieces), len(run.pieces), 0)
