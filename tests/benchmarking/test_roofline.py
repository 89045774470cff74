"""Test the count of operations, and the time that they take at least."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.benchmarking.roofline import Roofline, count_operations
from robustbench_fgsm.benchmarking.timing import TimedTask

CPU = torch.device("cpu")


def frozen(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)


ATTENTION = 2 * (4 * 6 * 8 * 8 + 2 * 6 * 6 * 8)
"""Four projections of 6 tokens of width 8, scores of all pairs of tokens, and the sums that they weigh."""


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.attention(x, x, x, need_weights=False)[0].mean(1)
        return found


@pytest.mark.parametrize(
    ("make", "shape", "forward"),
    [
        (lambda: nn.Linear(10, 4), (10,), 2 * 10 * 4),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten()), (3, 5, 5), 2 * 3 * 3 * 3 * 8 * 25),
        (Attention, (6, 8), ATTENTION),
    ],
    ids=["linear", "convolution", "attention"],
)
@pytest.mark.parametrize("n", [1, 2])
def test_counts_products(make: Callable[[], nn.Module], shape: tuple[int, ...], forward: int, n: int) -> None:
    found = count_operations(frozen(make()), torch.rand(n, *shape))
    assert found is not None
    assert found.forward_flops == forward
    assert found.gradient_flops >= 2 * forward  # attention repeats some products


def test_a_network_without_products_has_no_limit() -> None:
    assert count_operations(nn.Flatten(), torch.rand(2, 3, 4)) is None


def test_a_network_that_fails_has_no_limit() -> None:
    assert count_operations(frozen(nn.Linear(10, 4)), torch.rand(2, 3)) is None


def test_time_of_a_task() -> None:
    roofline, both = Roofline(10, 25, 100.0), (0.1, 0.2)
    assert roofline.seconds_at_least(TimedTask("attack", both), 4) == 1.0
    assert roofline.seconds_at_least(TimedTask("job", both), 4) == 1.8


def test_the_highest_rate_counts() -> None:
    first = Roofline(1, 2).with_rate(CPU, lambda: None)
    assert first.flops_per_second > 0
    assert Roofline(1, 2, 1e30).with_rate(CPU, lambda: None).flops_per_second == 1e30
