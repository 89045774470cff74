"""A result with a wrong value: one line that names the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.runs.directory import RESULT_FILE
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.read import read_saved_run
from robustbench_fgsm.runs.result_schema import read_result
from tests.changed_document import changed

WRONG: dict[str, Any] = {
    "schema": 5,
    "status": None,
    "exit_code": "0",
    "exit_code ": 1000,
    "invalid_reasons": "none",
    "warnings": [5],
    "seconds.total": -1,
    "evaluations": [],
    "evaluations.0.clean.accuracy.value": 0.99,
    "evaluations.0.clean.accuracy.n": -4,
    "evaluations.0.epsilons.0.robust_accuracy.count": "7",
    "evaluations.0.epsilons.1.confusion": [[1, -2], [0, 3]],
    "evaluations.0.epsilons.0.confusion": [[1, 2, 0], [0, 3]],
    "evaluations.0.epsilons.1.confusion ": [[12, 0, 0], [0, 12, 0], [0, 0, 12]],
    "evaluations.0.epsilons.0.robust_accuracy.low": 0.999,
    "evaluations.0.epsilons.0.epsilon": -0.1,
    "evaluations.0.epsilons.0.epsilon ": "8/255",
    "evaluations.0.epsilons.0.per_class.1.n": -1,
    "evaluations.0.epsilons.0.per_class.1.label": 1.5,
    "evaluations.0.epsilons.0.per_class.1.clean_correct": 2**62,
    "evaluations.1.epsilons.0.per_class.2.robust_accuracy.value": None,
}


@pytest.fixture
def directory(run: EvaluationRun, tmp_path: Path) -> Path:
    """The directory of a finished run."""
    evaluate_in_directory(run, tmp_path / "run", max_example_images=0)
    return tmp_path / "run"


def test_a_result_as_it_was_written_is_read(directory: Path) -> None:
    document = json.loads((directory / RESULT_FILE).read_text())
    assert read_result(directory / RESULT_FILE) == document == read_saved_run(directory).result


@pytest.mark.parametrize("place", sorted(WRONG))
def test_names_the_wrong_field(directory: Path, place: str) -> None:
    document = json.loads((directory / RESULT_FILE).read_text())
    (directory / RESULT_FILE).write_text(json.dumps(changed(document, place.strip(), WRONG[place])))
    *keys, last = place.strip().split(".")
    with pytest.raises(rf.RunError, match=r"must have a valid .*, got .*: measure it again") as said:
        read_result(directory / RESULT_FILE)
    assert last in str(said.value) or ".".join(keys) in str(said.value)
