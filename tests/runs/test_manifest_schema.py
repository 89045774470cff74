"""A manifest with a wrong value: one line that names the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.runs.directory import MANIFEST_FILE, read_manifest_json
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from tests.changed_document import changed

WRONG: dict[str, Any] = {
    "command": 5,
    "model.spec": ["mlp300"],
    "model.settings": [],
    "data.n": -1,
    "data.classes": "abc",
    "data.classes.1": 7,
    "attacks.0.epsilons": [],
    "attacks.1.epsilons.0": -0.1,
    "attacks.0.loss": None,
    "attacks.0.bounds": [0],
    "batch_size": 2.5,
    "piece_size": True,
    "max_bad": "0",
}


@pytest.fixture
def directory(run: EvaluationRun, tmp_path: Path) -> Path:
    """The directory of a finished run."""
    evaluate_in_directory(run, tmp_path / "run", max_example_images=0)
    return tmp_path / "run"


def test_a_manifest_as_it_was_written_is_read(directory: Path) -> None:
    assert read_manifest_json(directory)["command"] == "sweep"


@pytest.mark.parametrize("place", sorted(WRONG))
def test_names_the_wrong_field(directory: Path, place: str) -> None:
    document = json.loads((directory / MANIFEST_FILE).read_text())
    (directory / MANIFEST_FILE).write_text(json.dumps(changed(document, place, WRONG[place])))
    if place == "attacks.0.loss":
        with pytest.raises(rf.RunError, match="must be as rfgsm wrote it"):
            rf.gate(directory, directory)
    else:
        with pytest.raises(rf.RunError, match=rf"manifest\.json must have a valid {place}, got"):
            read_manifest_json(directory)
