"""Images get the axes that a network takes, and no others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustbench_fgsm.models.image_axes import ArrangedImages, arrange_images


@pytest.mark.parametrize(
    ("images", "shape", "found"),
    [
        ((3, 4, 5), (3, 4, 5), (3, 4, 5)),
        ((3, 4, 5), (4, 5, 3), (4, 5, 3)),
        ((3, 4, 5), (None, None, 3), (4, 5, 3)),
        ((3, 4, 5), (60,), (60,)),
        ((3, 4, 5), (None,), (60,)),
        ((1, 4, 5), (4, 5), (4, 5)),
        ((1, 4, 5), (4, 5, 1), (4, 5, 1)),
        ((3, 4, 5), (7, 7, 7), (3, 4, 5)),
        ((6,), (6,), (6,)),
    ],
)
def test_arranges_axes(images: tuple[int, ...], shape: tuple[int | None, ...], found: tuple[int, ...]) -> None:
    x = torch.rand(2, *images)
    assert arrange_images(x, shape).shape == (2, *found)
    assert ArrangedImages(nn.Identity(), shape)(x).shape == (2, *found)


def test_a_cube_has_channels_where_the_network_says() -> None:
    x = torch.rand(1, 3, 3, 3)
    assert torch.equal(arrange_images(x, (3, 3, 3)), x)
    assert torch.equal(arrange_images(x, (3, 3, 3), channels_last=True), x.permute(0, 2, 3, 1))
