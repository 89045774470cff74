"""The network for the gradients of many steps passes a trial, and its images fool the plain network as often."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.gradient_classifier import GRADIENT_PLAN, choose_gradient_classifier
from robustbench_fgsm.spec import AttackSpec

SPEC = AttackSpec((8 / 255,))

pytestmark = pytest.mark.usefixtures("one_thread")


def choose(classifier: rf.Classifier, batch: Batch) -> tuple[rf.Classifier, int | None]:
    return choose_gradient_classifier(classifier, batch, 1000, SPEC, tuple("0123456789"))


def test_convolutions_are_folded_and_give_pgd_the_same_images(images: rf.ArrayDataset) -> None:
    """Rounding changes a sign here and there, and with it the path of an image."""
    classifier = rf.load_classifier("smallcnn", device="cpu")
    batch = next(images.batches(0, 64, 64))
    chosen, size = choose(classifier, batch)
    assert isinstance(chosen, rf.TorchClassifier)
    assert size == GRADIENT_PLAN.batch_size
    assert not any(isinstance(module, nn.BatchNorm2d) for module in chosen.network.modules())
    ours, plain = (rf.pgd(one, batch.images, batch.labels, 8 / 255, steps=5) for one in (chosen, classifier))
    assert ((ours - plain).abs() > 1e-6).float().mean() < 0.02
    assert (classifier.predict(ours).argmax(1) != classifier.predict(plain).argmax(1)).sum() <= 1


def test_other_networks_stay_as_they_are(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 8, 8))
    assert choose(classifier, batch) == (classifier, None)


def test_a_network_that_fails_the_trial_stays_as_it_is(images: rf.ArrayDataset) -> None:
    class BatchStatistics(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
            self.output = nn.Linear(4 * 26 * 26, 10)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.output(self.layers(x))
            return logits

    torch.manual_seed(0)
    network = rf.wrap(BatchStatistics(), 10)
    assert choose(network, next(images.batches(0, 8, 8))) == (network, None)
