"""A transfer in a directory, alone and shared: stopped anywhere, it goes on, and several processes count as one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.transfer import make_transfer_models
from robustbench_fgsm.options import TransferOptions
from robustbench_fgsm.runs.directory import RESULT_FILE
from robustbench_fgsm.runs.ledger import Ledger
from robustbench_fgsm.runs.transfer import TransferRun, transfer_in_directory
from robustbench_fgsm.spec import AttackSpec
from tests.runs.test_processes import answers, in_world

MakeClassifier = Callable[..., rf.TorchClassifier]
MakeData = Callable[..., rf.ArrayDataset]
SPEC, COMMON = AttackSpec((0.01, 0.2)), TransferOptions(common=True)


class StoppedError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def run(make_classifier: MakeClassifier, make_data: MakeData) -> TransferRun:
    models = [make_classifier(seed=seed) for seed in (0, 1)]
    return TransferRun(make_transfer_models(models, models[::-1]), make_data(n=101), SPEC, COMMON, 8)


def counts(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document))
    del found["seconds"], found["environment"]
    return found


def test_continues_a_stopped_transfer(run: TransferRun, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def stop(done: int, _: int) -> None:
        if done >= 40:
            raise StoppedError

    with pytest.raises(StoppedError):
        transfer_in_directory(run, out, progress=stop)
    assert 0 < Ledger.of_directory(out).num_finished < 13
    assert not (out / RESULT_FILE).exists()
    found = transfer_in_directory(run, out)
    assert counts(found) == counts(transfer_in_directory(run, None))
    assert transfer_in_directory(run, out) == found
    with pytest.raises(RunError, match="max_bad"):
        transfer_in_directory(replace(run, max_bad=1), out)


@pytest.mark.distributed
def test_several_processes_count_like_one(run: TransferRun, tmp_path: Path) -> None:
    def work(world: World) -> Any:
        return [counts(transfer_in_directory(run, out, world=world)) for out in (None, tmp_path / "run")]

    assert in_world(3, work, tmp_path / "told") == [0] * 3
    assert answers(tmp_path / "told", 3) == [[counts(transfer_in_directory(run, None))] * 2] * 3
