"""What a lock holds: outcomes by label and hash, whatever the order of the images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.lock_file import encode_lock
from robustbench_fgsm.runs.read import read_saved_run
from robustbench_fgsm.runs.robustness_lock import lock_records, lock_run
from tests.runs.locks import SPEC, locked, measured, outcomes, settings, shuffled

BEFORE, AFTER = [0, 1, 1, 1, 0, 2], [[0], [1], [0], [1], [0], [0]]


def test_outcomes_come_by_label_and_hash() -> None:
    lock = locked(outcomes(BEFORE, AFTER), hashes=[9, 3, -1, 7, 4, 2])
    assert lock.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert lock.attacks[0].right.astype(int).tolist() == [[0, 1, 1, 1, 1, 0], [0, 1, 0, 1, 0, 0]]


def test_the_order_of_the_images_changes_nothing_but_the_order() -> None:
    order = np.array([4, 1, 5, 0, 3, 2])
    found = outcomes(BEFORE, AFTER)
    moved = replace(found.at(order), ids=np.arange(6))
    lock, other = locked(found, hashes=[9, 3, -1, 7, 4, 2]), locked(moved, hashes=[4, 3, 2, 9, 7, -1])
    assert lock.order != other.order
    assert encode_lock(replace(other, order=lock.order)) == encode_lock(lock)


@pytest.mark.parametrize(("repeats", "kept"), [(1, [False, False]), (20, [True, False])])
def test_saturated_images_keep_ordinary_outcomes_up_to_1_per_cent(repeats: int, kept: list[bool]) -> None:
    before, after = BEFORE * repeats, np.array(AFTER * repeats)
    saturated, stable, labels = np.zeros(len(before), np.bool_), after.copy(), [0, 0, 1, 1, 2, 2] * repeats
    saturated[0], stable[0] = True, 2
    lock = locked(outcomes(before, after.tolist(), labels, saturated=saturated, after_stable=stable))
    (attack,) = lock.attacks
    assert (lock.saturated, lock.exceeds_saturated_share) == (1, repeats == 1)
    assert [bool(attack.outcomes(stable=flag)[1, 0]) for flag in (False, True)] == kept


def test_above_100_classes_several_share_a_hash() -> None:
    labels = [0, 120, 120, 149]
    one, other = (locked(outcomes([0] * 4, [[0]] * 4, labels), hashes=[1, 2, last, 4], classes=150) for last in (3, 5))
    assert len(one.digests) == 75
    assert [a == b for a, b in zip(one.digests, other.digests, strict=True)].index(False) == 60


def test_a_run_and_a_measurement_give_equal_locks(run: EvaluationRun, tmp_path: Path) -> None:
    alone = replace(run, specs=run.specs[:1])
    evaluate_in_directory(alone, tmp_path / "run")
    lock = lock_run(read_saved_run(tmp_path / "run"))
    assert encode_lock(measured(run.classifier, run.data, batch_size=7)) == encode_lock(lock)
    other = measured(run.classifier, shuffled(run.data))
    assert encode_lock(replace(other, order=lock.order, data=lock.data | {"spec": other.data["spec"]})) == encode_lock(lock)


def test_refuses_what_must_not_be_a_baseline(run: EvaluationRun, tmp_path: Path) -> None:
    evaluate_in_directory(run, tmp_path / "run")
    result = tmp_path / "run" / "result.json"
    document = json.loads(result.read_text(encoding="utf-8"))
    result.write_text(json.dumps(document | {"invalid_reasons": ["gradients are not finite"]}), encoding="utf-8")
    with pytest.raises(rf.InvalidRunError, match="whose gradients are not finite"):
        lock_run(read_saved_run(tmp_path / "run"))
    result.unlink()
    with pytest.raises(rf.RunError, match="run must be finished"):
        lock_run(read_saved_run(tmp_path / "run"))
    with pytest.raises(rf.DataError, match="none that could be read in tiny"):
        lock_records([], settings(), [SPEC])
