"""The bounds to which a result is clipped, for each channel and batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.verification.conftest import attack, reading_of, right


@pytest.mark.parametrize(
    ("clip", "cause", "text"),
    [
        (lambda moved, x: moved, "no-clip", "none: outputs reach -0.3 to 1.3"),
        (lambda moved, x: moved.clamp(max=1), "wrong-clip-range", "at the top only"),
        (lambda moved, x: moved.clamp(-0.1, 1.1), "wrong-clip-range", "-0.1 to 1.1"),
        (lambda moved, x: moved.clamp(float(x.min()), float(x.max())), "clip-to-batch-range", "of the batch"),
        (
            lambda moved, x: torch.maximum(torch.minimum(moved, x.amax((1, 2, 3), keepdim=True)), x.amin((1, 2, 3), keepdim=True)),
            "bounds-per-image",
            "of the image",
        ),
        (lambda moved, x: (moved - moved.min()) / (moved.max() - moved.min()), "wrong-clip-range", "stretched"),
    ],
    ids=["none", "top", "wide", "batch", "image", "stretched"],
)
def test_names_the_clip(clip: Callable[[Tensor, Tensor], Tensor], cause: str, text: str) -> None:
    reading = reading_of("clip", attack(clip=clip))
    assert (reading.verdict, reading.cause) == ("wrong", cause)
    assert text in reading.text


def test_measures_the_bounds_of_each_channel() -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        low, high = (torch.tensor(values).view(3, 1, 1)[: x.shape[1]] for values in ((-0.05, 0.0, -0.1), (1.0, 1.2, 1.05)))
        moved = x + epsilon * (right(model, x.clamp(0.1, 0.9), y, 0.05) - x.clamp(0.1, 0.9)).sign()
        return torch.maximum(torch.minimum(moved, high), low)

    reading = reading_of("clip", fgsm)
    assert reading.measured["low"] == pytest.approx([-0.05, 0.0, -0.1], abs=1e-6)
    assert reading.measured["high"] == pytest.approx([1.0, 1.2, 1.05], abs=1e-6)
