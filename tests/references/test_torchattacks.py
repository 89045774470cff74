"""torchattacks as a reference: it defines no success, and its robust accuracy of targets is the hit rate."""

from __future__ import annotations

import math

import pytest
from torch.utils.data import DataLoader, TensorDataset

import robustbench_fgsm as rf

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("targeted", ["none", "next"])
def test_robust_accuracy_of_targets(classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    batch = next(images.batches(0, 256, 256))
    attack = torchattacks.FGSM(classifier.copy_network(), eps=8 / 255)
    labels = batch.labels
    if targeted != "none":
        attack.set_mode_targeted_by_label(quiet=True)
        labels = (labels + 1) % 10
    loader = DataLoader(TensorDataset(batch.images, labels), batch_size=256)
    per_cent, _, _ = attack.save(loader, verbose=False, return_verbose=True)
    (reference,) = rf.compare(classifier, images, targeted=targeted, references=["torchattacks"]).references
    tally = reference.timed_tally.tally
    assert reference.own_success is None
    same = tally.robust_accuracy if targeted == "none" else tally.target_hit_rate
    assert same is not None
    assert same.value is not None
    assert math.isclose(same.value, per_cent / 100)
