"""A call knows the normalisation of its model."""

from __future__ import annotations

import torch
from torch import nn

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.variants.attack_call import AttackCall

X, Y = torch.full((2, 3, 1, 1), 0.5), torch.tensor([0, 1])


def test_mean_and_std_broadcast() -> None:
    call = AttackCall(PixelSpaceNetwork(nn.Flatten(), (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)), X, Y, 0.1)
    expected = torch.tensor([0.8, 0.3, 0.1]).view(1, 3, 1, 1).expand(X.shape)
    assert torch.allclose((X - call.mean) / call.std, expected)


def test_a_plain_network_does_not_normalise() -> None:
    call = AttackCall(nn.Flatten(), X, Y, 0.1)
    assert torch.equal((X - call.mean) / call.std, X)
