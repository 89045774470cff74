"""Small networks on which the right answer is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def linear() -> nn.Linear:
    """Logits W x with W = [[1, 2], [3, -4], [0, 1]]: the gradient is W^T (softmax - onehot)."""
    layer = nn.Linear(2, 3, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.0, 1.0]]))
    return layer


@pytest.fixture
def convolutional() -> nn.Sequential:
    """Batch norm with statistics of its own, dropout, and an in-place ReLU: what goes wrong in train mode."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 5)
    )
    network(torch.rand(16, 1, 6, 6))  # moves the running statistics off their defaults
    return network


@pytest.fixture
def wavy_model() -> Callable[[Tensor], Tensor]:
    """Three outputs that are not monotone in the images: whether a step fools depends on where it began."""

    def model(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.stack([(20 * flat).sin().sum(1), (13 * flat).cos().sum(1), flat.sum(1) / 10], 1)

    return model
