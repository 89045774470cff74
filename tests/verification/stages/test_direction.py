"""The displacement against the gradient: its law and its numbers are read off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.verification.conftest import attack, reading_of


def per_image(gradient: Tensor, order: float) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), order, 1)
    return gradient / norms.clamp_min(1e-30).view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("direction", "cause", "text"),
    [
        (lambda g: g.sign() * (g.abs() > 1e-5), "gradient-threshold", "0 for |gradient| below"),
        (lambda g: g / (g.abs() + 1e-4), "soft-sign", "half of the step at"),
        (lambda g: g, "raw-gradient", "the gradient itself"),
        (lambda g: per_image(g, 2), "wrong-norm", "the L2 norm of the image"),
        (lambda g: per_image(g, 1), "wrong-norm", "the L1 norm of the image"),
        (lambda g: g / g.flatten(2).norm(dim=2)[..., None, None].clamp_min(1e-30), "norm-per-channel", "of each channel"),
        (lambda g: torch.where(g >= 0, 1.0, -1.0), "sign-of-zero", "move up"),
        (lambda g: g.mean(1, keepdim=True).sign().expand_as(g), "per-channel-grey", "all channels"),
        (lambda g: functional.avg_pool2d(g, 3, 1, 1).sign(), "blurred-gradient", "3 x 3"),
        (lambda g: g.flip(3).sign(), "axis-scramble", "mirrored"),
        (lambda g: -g.sign(), "wrong-sign", "descends"),
    ],
    ids=["threshold", "floor", "raw", "l2", "l1", "channel", "zero", "grey", "blur", "mirror", "minus"],
)
def test_names_the_direction(direction: Callable[[Tensor], Tensor], cause: str, text: str) -> None:
    reading = reading_of(
        "direction", attack(direction=direction, loss=lambda z, y: functional.cross_entropy(z, y, reduction="none"))
    )
    assert (reading.verdict, reading.cause) == ("wrong", cause)
    assert text in reading.text


@pytest.mark.parametrize("threshold", [1e-9, 3e-7, 1e-4])
def test_measures_a_threshold(threshold: float) -> None:
    summed = attack(
        direction=lambda g: g.sign() * (g.abs() > threshold), loss=lambda z, y: functional.cross_entropy(z, y, reduction="none")
    )
    assert reading_of("direction", summed).measured["threshold"] == pytest.approx(threshold, rel=0.2)


def test_measures_the_order_of_a_norm() -> None:
    def l3_direction(g: Tensor) -> Tensor:
        scaled = g / g.abs().flatten(1).amax(1).clamp_min(1e-30).view(-1, 1, 1, 1)
        powered = scaled.sign() * scaled.abs().sqrt()
        return per_image(powered, 3)

    reading = reading_of("direction", attack(direction=l3_direction))
    assert reading.cause == "wrong-norm"
    assert reading.measured["norm"] == pytest.approx(3, rel=0.01)
