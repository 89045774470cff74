"""A call knows the normalisation of its model, and the calls before it."""

from __future__ import annotations

from dataclasses import replace

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


def test_calls_so_far_have_one_shape() -> None:
    first, other = AttackCall(nn.Flatten(), X, Y, 0.1), AttackCall(nn.Flatten(), X[:1], Y[:1], 0.1)
    last = replace(first, seed=1, earlier_calls=(first, other))
    assert last.calls_so_far == (first, last)
    assert first.calls_so_far == (first,)
