"""One batch attacked and observed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.attack_batch import attack_batch, is_saturated, predict_classes
from robustbench_fgsm.spec import AttackSpec, TargetRule
from robustbench_fgsm.stats.tally import Tally


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(0.0, False), (math.log(1e6) - 0.01, False), (math.log(1e6) + 0.01, True), (1_000.0, True), (-1_000.0, False)],
)
def test_saturation_by_logit_gap(gap: float, expected: bool) -> None:
    """Of two classes 1 - p_y = 1 / (1 + exp(gap)), which is 1e-6 at a gap of log(999,999)."""
    assert is_saturated(torch.tensor([[gap, 0.0]]), torch.tensor([0])).item() is expected


def test_saturation_sums_wrong_classes() -> None:
    logits = torch.tensor([[math.log(1e6) + 0.01, 0.0, 0.0]])  # each wrong class below 1e-6, both together above
    assert not is_saturated(logits, torch.tensor([0])).any()


def test_counts_equal_predictions(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 64, 64))
    attacked = attack_batch(classifier, batch, AttackSpec(), images.classes)
    x_adv = rf.fgsm(classifier, batch.images, batch.labels)
    assert torch.equal(attacked.gradient_step.perturb(8 / 255), x_adv)
    before, after = predict_classes(classifier, batch.images), predict_classes(classifier, x_adv)
    tally = Tally.of(attacked.outcomes(after, before), 10)
    assert tally.clean_accuracy.count == int((before == batch.labels).sum())
    assert tally.flip_rate.count == int((before != after).sum())
    assert not tally.targeted


def test_targeted_attack_gets_its_target(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 64, 64))
    for rule, aim in (("next", (batch.labels + 1) % 10), ("least-likely", classifier.predict(batch.images).argmin(1))):
        attacked = attack_batch(classifier, batch, AttackSpec(target=TargetRule.parse(rule)), images.classes)
        assert torch.equal(attacked.labels_or_targets, aim)
        assert attacked.targeted


def test_distinguishes_zero_and_nonfinite_gradients(images: rf.ArrayDataset) -> None:
    """Without weights every gradient is zero; with infinite ones none is finite."""
    batch, counts = next(images.batches(0, 8, 8)), {}
    for weight in (0.0, math.inf):
        layer = nn.Linear(784, 10)
        nn.init.constant_(layer.weight, weight)
        attacked = attack_batch(rf.wrap(nn.Sequential(nn.Flatten(), layer), 10), batch, AttackSpec(), images.classes)
        counts[weight] = (int(attacked.gradient_step.zero_gradient.sum()), int(attacked.gradient_step.nonfinite_gradient.sum()))
        assert torch.equal(attacked.gradient_step.perturb(0.1), batch.images)
    assert counts == {0.0: (8, 0), math.inf: (0, 8)}
