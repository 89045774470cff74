"""Foolbox as a reference: its own definition of success."""

from __future__ import annotations

import warnings

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.stats.rate import Rate

pytestmark = pytest.mark.reference


def test_own_success_matches_foolbox(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        foolbox = pytest.importorskip("foolbox")
    batch = next(images.batches(0, 256, 256))
    model = foolbox.PyTorchModel(classifier.copy_network().eval(), bounds=(0, 1), device="cpu")
    *_, success = foolbox.attacks.LinfFastGradientAttack()(model, batch.images, batch.labels, epsilons=8 / 255)
    (reference,) = rf.compare(classifier, images, references=["foolbox"]).references
    assert reference.own_success is not None
    rate = reference.own_success.rate(reference.timed_tally.tally)
    assert rate == Rate(int(success.sum()), 256)
    assert rate != reference.timed_tally.tally.flip_rate
