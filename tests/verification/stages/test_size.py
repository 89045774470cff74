"""The size of the step: by channel, by image and against epsilon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from tests.verification.conftest import attack, reading_of, right, wrong_stages


@pytest.mark.parametrize(
    ("size", "cause", "text"),
    [
        (lambda epsilon: epsilon / 255, "epsilon-scale-255", "1/255"),
        (lambda epsilon: epsilon * 0.5, "wrong-epsilon", "0.5 times epsilon"),
        (lambda epsilon: 0.03, "wrong-epsilon", "0.03 for every epsilon"),
        (lambda epsilon: min(epsilon, 0.1), "wrong-epsilon", "never more than 0.1"),
        (lambda epsilon: 0.0, "no-op", "unchanged"),
    ],
    ids=["255", "half", "constant", "cap", "none"],
)
def test_names_the_size(size: Callable[[float], Any], cause: str, text: str) -> None:
    found = rf.verify(attack(size=size))
    assert wrong_stages(found) == ["size"]
    reading = found.wrong_stages[0]
    assert reading.cause == cause
    assert text in reading.text


def test_measures_the_std_of_another_data_set() -> None:
    std = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1)

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        scale = std if x.shape[1] == 3 else std[:1]
        return (x + (right(model, x, y, 1e-3) - x).sign() * epsilon * scale).clamp(0, 1)

    reading = reading_of("size", fgsm)
    assert reading.cause == "wrong-std"
    assert reading.measured["by_channel"] == pytest.approx([0.2023, 0.1994, 0.2010], rel=1e-3)


def test_sees_images_that_are_left_out() -> None:
    def first_32(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return torch.cat([right(model, x[:32], y[:32], epsilon), x[32:]])

    def correct_only(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        is_correct = (model(x).argmax(1) == y).view(-1, 1, 1, 1)
        return torch.where(is_correct, right(model, x, y, epsilon), x)

    assert "only the first 32 images" in reading_of("size", first_32).text
    assert reading_of("size", correct_only).cause == "skips-misclassified"


def test_sees_pixels_that_are_held() -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return torch.where(x > 0, right(model, x, y, epsilon), x)

    assert "pixels at 0 do not move" in reading_of("size", fgsm).text


def test_a_right_size_of_one_minus_1e_7() -> None:
    assert reading_of("size", attack(size=lambda epsilon: epsilon - 1e-7)).verdict == "ok"
