"""An altered model is a copy, and the given model stays as it is."""

from __future__ import annotations

import torch
from torch import nn

from robustbench_fgsm.variants.altered_models import guided_copy


def test_guided_backpropagation_drops_negative_gradients() -> None:
    linear = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[2.0, -3.0]]))
    model = nn.Sequential(nn.ReLU(), linear).eval()
    for network, expected in ((guided_copy(model), [2.0, 0.0]), (model, [2.0, -3.0])):
        x = torch.ones(1, 2, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x).sum(), x)
        assert gradient[0].tolist() == expected
