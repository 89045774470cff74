"""Measure a model in this process, and lock it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import robustbench_fgsm as rf
from robustbench_fgsm.options import AttackOptions
from robustbench_fgsm.runs.measure_lock import measure_lock
from robustbench_fgsm.runs.pair_outcomes import pair_outcomes


def test_counts_are_those_of_evaluate(classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    lock, evaluation = measure_lock(classifier, data, AttackOptions("0.01,0.2"))
    (same,) = rf.sweep(classifier, data, "0.01,0.2")
    assert [tally.robust_accuracy for tally in evaluation.tallies] == [tally.robust_accuracy for tally in same.tallies]
    assert lock.attacks[0].right.sum(1).tolist() == [
        same.clean_accuracy.count,
        *(tally.robust_accuracy.count for tally in same.tallies),
    ]


def test_bare_modules_loaders_and_tensors_are_the_same(classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    (whole,) = data.batches(0, len(data), len(data))
    pairs = TensorDataset(whole.images, whole.labels)
    torch.manual_seed(0)
    forms = [(whole.images, whole.labels), pairs, DataLoader(pairs, 7, shuffle=True)]
    locks = [measure_lock(classifier.network, form, AttackOptions(0.2))[0] for form in forms]
    for lock in locks[1:]:
        found, _ = pair_outcomes(lock, locks[0])
        assert all((at.lost, at.gained) == (0, 0) for at in found)


def test_numbers_that_must_not_be_used(make_data: Callable[..., rf.ArrayDataset]) -> None:
    layer = nn.Linear(30, 3)
    with torch.no_grad():
        layer.weight.fill_(float("nan"))
    network = nn.Sequential(nn.Flatten(), layer)
    with pytest.raises(rf.InvalidRunError, match="must have numbers that can be used, got Sequential"):
        measure_lock(rf.wrap(network, 3), make_data(), AttackOptions(0.2))
