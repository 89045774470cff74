"""A reference of one function over batches, and what a library offers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.references.batched_reference import BatchedReference, reference_network
from robustbench_fgsm.spec import AttackSpec, TargetRule


def test_works_through_the_images_in_batches(classifier: rf.TorchClassifier) -> None:
    sizes = []

    def shift(images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> torch.Tensor:
        sizes.append((len(images), len(labels)))
        return images + epsilon

    reference = BatchedReference("shift", "1.0", classifier.copy_network(), shift, 2, torch.device("cpu"))
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(reference.fgsm(x, torch.zeros(5, dtype=torch.int64), 0.25), x + 0.25)
    assert sizes == [(2, 2), (2, 2), (1, 1)]
    torch.testing.assert_close(reference.predict(x), classifier.predict(x))


def test_copies_the_network_with_gradients(classifier: rf.TorchClassifier) -> None:
    network = reference_network("library", classifier, AttackSpec(), (math.inf,), targeted=False)
    assert isinstance(network, nn.Module)
    assert network is not classifier.network
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (AttackSpec(norm=2.0), "comparable under norm inf, got 2"),
        (AttackSpec(target=TargetRule("shift", 1)), "has no targeted FGSM"),
    ],
)
def test_rejects_unsupported_settings(classifier: rf.TorchClassifier, spec: AttackSpec, message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        reference_network("library", classifier, spec, (math.inf,), targeted=False)
