"""One call of an implementation: its arguments, and the calls before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds


@dataclass(frozen=True, eq=False)
class AttackCall:
    """Arguments of one call of an attack, the seed of the global generators during the call, and the calls before it.

    The model maps images (N, C, H, W) in pixel space to logits. y holds labels, or targets if the call is targeted.
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
        """Return the mean that the model subtracts from pixels, broadcast to the images."""
        return self.model.broadcast_statistics(self.x)[0] if isinstance(self.model, PixelSpaceNetwork) else torch.zeros(())

    @property
    def std(self) -> Tensor:
        """Return the standard deviation that the model divides pixels by, broadcast to the images."""
        return self.model.broadcast_statistics(self.x)[1] if isinstance(self.model, PixelSpaceNetwork) else torch.ones(())

    @property
    def calls_so_far(self) -> tuple[AttackCall, ...]:
        """Return the earlier calls with images of this shape, and this call last."""
        return *(call for call in self.earlier_calls if call.x.shape == self.x.shape), self
