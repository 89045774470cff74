"""One call of an implementation: what it is given, and what it was given before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds


@dataclass(frozen=True, eq=False)
class AttackCall:
    """A call.

    model: pixel space to logits, in evaluation mode. x: (N, C, H, W) float32 within bounds. y: (N,) int64, targets where
    targeted. seed: of the global generators during the call. before: earlier calls, in their order.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    epsilon: float
    targeted: bool = False
    bounds: Bounds = PIXEL_BOUNDS
    seed: int = 0
    earlier_calls: tuple[AttackCall, ...] = ()

    @property
    def mean(self) -> Tensor:
        """What the model subtracts of a pixel, so that it broadcasts to the images."""
        return self.model.broadcast_statistics(self.x)[0] if isinstance(self.model, PixelSpaceNetwork) else torch.zeros(())

    @property
    def std(self) -> Tensor:
        """What it then divides by."""
        return self.model.broadcast_statistics(self.x)[1] if isinstance(self.model, PixelSpaceNetwork) else torch.ones(())

    @property
    def earlier_calls_same_shape(self) -> tuple[AttackCall, ...]:
        """Earlier calls with images of the same shape, whose leftovers could be mistaken for this one's."""
        return tuple(scene for scene in self.earlier_calls if scene.x.shape == self.x.shape)
