"""A manifest that somebody changed or cut is one line of error, wherever it is read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.engine.plan import PLAIN_PLAN
from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.runs.attack.replay import check_adversarial
from robustbench_fgsm.runs.attack.save import save_adversarial
from robustbench_fgsm.runs.directory import MANIFEST_FILE
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.manifest import plan_from_manifest
from robustbench_fgsm.runs.read import summarize_run
from robustbench_fgsm.runs.resume import reload_evaluation_run
from robustbench_fgsm.spec import AttackSpec

Document = dict[str, Any]
SETTINGS = ("model", "data", "attack", "output", "plan", "seconds")


def places(document: Document) -> Iterator[tuple[str, ...]]:
    for key, value in document.items():
        yield (key,)
        if key in SETTINGS and isinstance(value, dict):
            yield from ((key, inner) for inner in value)


def changed(document: Document) -> Iterator[Document]:
    """The document with each of its values left out, or of another kind."""
    for *above, last in places(document):
        for value in (KeyError, "x", None, -1):
            other = copy.deepcopy(document)
            part = other
            for key in above:
                part = part[key]
            if value is KeyError:
                del part[last]
            else:
                part[last] = value
            yield other


def check(directory: Path, *readers: Callable[[], object]) -> int:
    """How many of the changes are complained of in one line; an error that nobody foresaw fails the test."""
    document, complaints = json.loads((directory / MANIFEST_FILE).read_text()), 0
    for other in changed(document):
        for read in readers:
            (directory / MANIFEST_FILE).write_text(json.dumps(other))
            try:
                read()
            except RfgsmError as error:
                complaints += "\n" not in str(error)
    return complaints


def test_of_a_measurement(classifier: rf.TorchClassifier, data: rf.ArrayDataset, tmp_path: Path) -> None:
    run = EvaluationRun("evaluate", classifier, data, (AttackSpec(),), PLAIN_PLAN)
    evaluate_in_directory(run, tmp_path, max_example_images=0)
    readers = (
        lambda: summarize_run(tmp_path),
        lambda: reload_evaluation_run(tmp_path),
        lambda: evaluate_in_directory(run, tmp_path, max_example_images=0),
    )
    assert check(tmp_path, *readers) > 100


def test_of_saved_images(classifier: rf.TorchClassifier, data: rf.ArrayDataset, tmp_path: Path) -> None:
    save_adversarial(classifier, data, tmp_path, 0.1, shard_size=10)
    readers = (
        lambda: summarize_run(tmp_path),
        lambda: save_adversarial(classifier, data, tmp_path, 0.1, shard_size=10),
        lambda: check_adversarial(tmp_path, classifier, data),
    )
    assert check(tmp_path, *readers) > 100


@pytest.mark.parametrize("sizes", [{"batch_size": 16}, {"output": {"batch_size": 16}}])
def test_an_older_manifest_has_a_plain_plan(sizes: Document) -> None:
    plan = plan_from_manifest(sizes)
    assert (plan.level, plan.batch_size) == ("none", 16)
