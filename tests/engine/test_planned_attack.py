"""Test that the order of work changes no count."""

from __future__ import annotations

import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.engine import planned_attack, run_pieces
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.plan import Plan, apply_plan
from robustbench_fgsm.engine.planned_attack import PlannedAttack
from robustbench_fgsm.engine.prefetch import prefetch_in_thread
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes


def test_asynchronous_device_changes_no_count(images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    network = rf.load_classifier("smallcnn", device="cpu")
    expected = rf.sweep(network, images, "4,16/255", batch_size=7)[0].to_dict()
    monkeypatch.setattr(planned_attack, "is_asynchronous", lambda device: True)
    monkeypatch.setattr(run_pieces, "prefetch_batches", lambda flow, device: prefetch_in_thread(flow, lambda batch: batch))
    found = rf.sweep(network, images, "4,16/255", batch_size=7)[0].to_dict()
    for document in (expected, found):
        del document["seconds"]
    assert found == expected


def test_each_image_is_emitted_once(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    emitted: list[BatchOutcomes] = []
    plan, spec = apply_plan(classifier, Plan(batch_size=16)), AttackSpec((0.01, 0.1))
    attack = PlannedAttack(plan, spec, images.classes, emitted.append, BatchSplitter())
    for batch in images.batches(0, 100, 16):
        attack.add(batch)
    attack.finish()
    outcomes = BatchOutcomes.concatenate(emitted).sorted_by_id()
    np.testing.assert_array_equal(outcomes.ids, np.arange(100))
    changed = (outcomes.with_exact_gradients().after != outcomes.after).any(1)
    assert not changed[~outcomes.saturated].any()
    assert attack.decided_again == 0
