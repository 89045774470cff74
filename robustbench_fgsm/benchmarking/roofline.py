"""The time that the machine needs at least: the operations of a task over the rate of a matrix multiplication."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from robustbench_fgsm.benchmarking.timing import TimedTask

MATRIX_SIZES = {"cpu": 1024, "cuda": 8192}
"""Rows of the multiplied matrices: large enough that a larger product has no higher rate."""

MULTIPLICATIONS = 5


@dataclass(frozen=True)
class Roofline:
    """Floating-point operations of an image, and the highest rate of the machine in this run.

    forward_flops: of one prediction. gradient_flops: of a forward pass and an input-only backward pass. flops_per_second: highest
    rate of a float32 matrix multiplication so far; 0 before the first one.
    """

    forward_flops: int
    gradient_flops: int
    flops_per_second: float = 0.0

    def seconds_at_least(self, task: TimedTask, n: int) -> float:
        """Return the seconds of a task on n images if all its operations run at the rate of the matrix multiplication.

        The operations are those of one gradient for each image, which also gives the first prediction, and in a job of one more
        prediction for each epsilon. Only convolutions and matrix products count.
        """
        predictions = len(task.epsilons) if task.kind == "job" else 0
        return n * (self.gradient_flops + predictions * self.forward_flops) / self.flops_per_second

    def with_rate(self, device: torch.device, synchronise: Callable[[], None]) -> Roofline:
        """Return the roofline with the highest rate of some multiplications now, if it is higher."""
        size = MATRIX_SIZES.get(device.type, 1024)
        factors = torch.rand(2, size, size, device=device)
        seconds = []
        for _ in range(1 + MULTIPLICATIONS):
            synchronise()
            began = time.perf_counter()
            torch.mm(*factors)
            synchronise()
            seconds.append(time.perf_counter() - began)
        return replace(self, flops_per_second=max(self.flops_per_second, 2 * size**3 / min(seconds)))


def count_operations(network: nn.Module, images: Tensor) -> Roofline | None:
    """Return the operations of one image, counted by PyTorch on the images (N, C, H, W); None if it counts none of the network.

    PyTorch counts convolutions and matrix products. It cannot look into a compiled or scripted module.
    """
    x = images.detach().requires_grad_().clone()  # the counter refuses gradients of a leaf
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            outputs = network(x)
            forward = counter.get_total_flops()
            torch.autograd.grad(outputs.sum(), x)
        total = counter.get_total_flops()
    except Exception:  # noqa: BLE001  (a network may refuse the counter in any way; its time counts, not its operations)
        return None
    return Roofline(forward // len(images), total // len(images)) if forward else None
