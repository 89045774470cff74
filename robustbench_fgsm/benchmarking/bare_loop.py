"""The unit of `rfgsm benchmark`: a bare FGSM loop, as a careful user of PyTorch writes it by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustbench_fgsm.attack.clip import clip_in_place
from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import Dataset, readable_batches
from robustbench_fgsm.spec import Bounds

BARE_LOOP_NORMS = (math.inf, 2.0)


@dataclass(frozen=True)
class BareResult:
    """Counts of all images, of images right before the attack, and of images right after the attack at each epsilon.

    invalid_reasons: why the counts must not be used; a loop that does not judge its outputs has none.
    """

    n: int
    clean_correct: int
    robust_correct: tuple[int, ...]
    invalid_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class BareLoop:
    """A loop over a network in evaluation mode, whose parameters need no gradient and have this memory format."""

    network: nn.Module
    memory_format: torch.memory_format
    norm: float
    bounds: Bounds
    batch_size: int
    device: torch.device
    version: str = torch.__version__

    def attack(self, data: Dataset, epsilons: Sequence[float]) -> int:
        """Attack all images at each epsilon, and return the number of adversarial images."""
        crafted = 0
        for images, labels in self._batches(data):
            _, direction = self.predict_and_find_direction(images, labels)
            for epsilon in epsilons:
                crafted += len(self.step(images, direction, epsilon))
        return crafted

    def job(self, data: Dataset, epsilons: Sequence[float]) -> BareResult:
        """Predict, attack at each epsilon and predict again; counts stay on the device until the end."""
        right = torch.zeros(1 + len(epsilons), dtype=torch.int64, device=self.device)
        n = 0
        for images, labels in self._batches(data):
            before, direction = self.predict_and_find_direction(images, labels)
            right[0] += (before == labels).sum()
            for place, epsilon in enumerate(epsilons, 1):
                x_adv = self.step(images, direction, epsilon)
                with torch.no_grad():
                    after = predicted_classes(self.network(x_adv))
                right[place] += (after == labels).sum()
            n += len(labels)
        clean, *robust = right.tolist()
        return BareResult(n, clean, tuple(robust))

    def _batches(self, data: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in readable_batches(data, 0, len(data), self.batch_size, []):
            layout = self.memory_format if batch.images.ndim == 4 else torch.contiguous_format
            images = batch.images.to(self.device, memory_format=layout, non_blocking=True)
            yield images, batch.labels.to(self.device, non_blocking=True)

    def predict_and_find_direction(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return predicted classes (N,) and directions (N, C, H, W) from one forward and one input-only backward pass."""
        x = images.detach().requires_grad_()
        logits = self.network(x)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), x)
        if self.norm == math.inf:
            return predicted_classes(logits), gradient.sign_()
        length = gradient.flatten(1).norm(dim=1).clamp_min_(torch.finfo(gradient.dtype).tiny)
        return predicted_classes(logits), gradient.div_(length.view(-1, *[1] * (gradient.ndim - 1)))

    def step(self, images: Tensor, direction: Tensor, epsilon: float) -> Tensor:
        """Return the images moved by epsilon along the direction, and clipped to the bounds."""
        return clip_in_place(torch.add(images, direction, alpha=epsilon), self.bounds)
