"""What tests of several sources share: a network that attacks have trouble with, data, and the comparison with ART."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf


class Difficult(nn.Module):
    """In-place ReLU, batch norm, dropout and attention by scaled_dot_product_attention, on grey 28 x 28 images."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AvgPool2d(2))
        self.attend = nn.Linear(36, 3 * 36)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(4 * 36, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.features(x).flatten(2).unsqueeze(1)
        query, key, value = self.attend(tokens).chunk(3, dim=-1)
        tokens = tokens + functional.scaled_dot_product_attention(query, key, value)
        outputs: Tensor = self.output(self.dropout(tokens.flatten(1)))
        return outputs


@pytest.fixture(scope="session")
def difficult() -> nn.Module:
    """In evaluation mode, with statistics that are not the initial ones; not to be changed."""
    torch.manual_seed(0)
    network = Difficult()
    for _ in range(3):
        network(torch.rand(16, 1, 28, 28))
    return network.eval().requires_grad_(False)


@pytest.fixture
def colour() -> Callable[..., rf.ArrayDataset]:
    """Coloured noise, six images of each size, with these class names, ten by default."""

    def noise(classes: tuple[str, ...] | None = None, size: int = 32) -> rf.ArrayDataset:
        named = classes or tuple(f"class {index}" for index in range(10))
        images = torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(1))
        return rf.ArrayDataset("noise", images, torch.arange(6) % len(named), named)

    return noise


@pytest.fixture
def agrees() -> Callable[[rf.Classifier, rf.ArrayDataset], bool]:
    """Whether ART's attack and ours agree on all images, and had gradients to go by."""

    def compared(classifier: rf.Classifier, data: rf.ArrayDataset) -> bool:
        found = rf.compare(classifier, data, 8 / 255, batch_size=4)
        return found.verdict == "agree" and found.ours.tally.zero_gradient == 0

    return compared
