"""Images in the axes that a network of another framework takes: channels last, flat, or without the axis of one channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

Shape = Sequence[int | None]
"""Shape of one image; None for a length that is not fixed."""


class ArrangedImages(nn.Module):
    """Network behind the change of axes from images (N, C, H, W) to the shape that it takes.

    shape: shape of one image. channels_last: the network has channels last, if the shape alone does not tell.
    """

    def __init__(self, network: nn.Module, shape: Shape, *, channels_last: bool = False) -> None:
        super().__init__()
        self.network = network
        self.shape = tuple(shape)
        self.has_channels_last = channels_last

    def forward(self, x: Tensor) -> Any:
        """Return what the network returns."""
        return self.network(arrange_images(x, self.shape, channels_last=self.has_channels_last))


def arrange_images(x: Tensor, shape: Shape, *, channels_last: bool = False) -> Tensor:
    """Return images (N, ...) in a shape if their axes can be arranged so, else unchanged."""
    last = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    if channels_last and _fits(last, shape):
        return last
    if _fits(x, shape):
        return x
    if len(shape) == 1 and shape[0] in (None, x[0].numel() if len(x) else None):
        return x.flatten(1)
    if _fits(last, shape):
        return last
    return x.squeeze(1) if x.ndim == 4 and x.shape[1] == 1 and _fits(x.squeeze(1), shape) else x


def arrange_inputs(shape: Shape, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a module's inputs with arranged images, as a forward pre-hook that adds no name to the module's weights."""
    return (arrange_images(inputs[0], shape), *inputs[1:])


def _fits(x: Tensor, shape: Shape) -> bool:
    lengths = x.shape[1:]
    return len(lengths) == len(shape) and all(want in (None, got) for got, want in zip(lengths, shape, strict=True))
