"""The arguments of one call of an implementation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds


@dataclass(frozen=True, eq=False)
class AttackCall:
    """Arguments of one call of an attack, and the seed of the global generators during the call.

    The model maps images (N, C, H, W) in pixel space to logits. y holds labels, or targets if the call is targeted.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    epsilon: float
    targeted: bool = False
    bounds: Bounds = PIXEL_BOUNDS
    seed: int = 0

    __repr__ = short_repr

    @property
    def mean(self) -> Tensor:
        """Return the mean that the model subtracts from pixels, broadcast to the images."""
        return self.model.broadcast_statistics(self.x)[0] if isinstance(self.model, PixelSpaceNetwork) else torch.zeros(())

    @property
    def std(self) -> Tensor:
        """Return the standard deviation that the model divides pixels by, broadcast to the images."""
        return self.model.broadcast_statistics(self.x)[1] if isinstance(self.model, PixelSpaceNetwork) else torch.ones(())
