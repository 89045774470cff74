"""Test counting outcomes in any order and in any parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict
from robustbench_fgsm.engine.outcomes import ObservedBatch, OutcomeBuffer, OutcomeCounter, PendingOutcomes, count_first_fooled
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes

SPEC = AttackSpec((0.2, 0.01))


@pytest.fixture(scope="module")
def observed(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> ObservedBatch:
    """Return the outcomes of 50 images."""
    attacked = attack_batch(classifier, next(images.batches(0, 50, 50)), SPEC, images.classes)
    after = [craft_and_predict(classifier, attacked, SPEC, epsilon)[1] for epsilon in SPEC.epsilons]
    return PendingOutcomes.start(attacked, after).wait()


def test_pending_outcomes_are_the_predictions(observed: ObservedBatch, classifier: rf.TorchClassifier) -> None:
    np.testing.assert_array_equal(observed.outcomes.before, classifier.predict(observed.batch.images).argmax(1))
    assert observed.outcomes.after.shape == (50, 2)
    assert observed.outcomes.targets is None


def test_parts_are_put_together(observed: ObservedBatch) -> None:
    again = ObservedBatch.concatenate([observed.at(torch.arange(20)), observed.at(torch.arange(20, 50))])
    np.testing.assert_equal(vars(again.outcomes), vars(observed.outcomes))
    assert again.batch.ids.tolist() == observed.batch.ids.tolist()


def test_buffer_waits_until_full() -> None:
    buffer = OutcomeBuffer[str](3)
    assert buffer.add("a") == buffer.add("") == []
    assert buffer.add("bc") == ["a", "bc"]
    assert buffer.flush() == []


@pytest.mark.parametrize("cut", [0, 7, 50])
def test_parts_change_no_count(observed: ObservedBatch, classifier: rf.TorchClassifier, cut: int) -> None:
    whole, parts = OutcomeCounter(classifier, SPEC), OutcomeCounter(classifier, SPEC)
    whole.add(observed.outcomes)
    for rows in (slice(cut, None), slice(cut)):
        parts.add(observed.outcomes.at(rows))
    np.testing.assert_equal(vars(parts.totals().tallies[0]), vars(whole.totals().tallies[0]))
    assert parts.totals().first_fooled.tolist() == whole.totals().first_fooled.tolist()


def test_first_fooled_by_hand() -> None:
    never = np.zeros(4, np.bool_)
    zeros = np.zeros(4, np.int64)
    after = np.array([[1, 1], [1, 0], [0, 0], [1, 1]])  # at 0.2 and at 0.01
    outcomes = BatchOutcomes(np.arange(4), zeros, np.array([0, 0, 0, 1]), after, None, never, never, never)
    assert count_first_fooled(outcomes, SPEC.epsilons).tolist() == [1, 1, 1]
