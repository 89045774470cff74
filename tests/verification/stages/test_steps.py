"""One step is told from several, and these are counted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from tests.verification.conftest import right, wrong_stages


def iterated(steps: int, share: float) -> rf.Verification:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        moved = x
        for _ in range(steps):
            moved = (x + (right(model, moved, y, share * epsilon) - x).clamp(-epsilon, epsilon)).clamp(0, 1)
        return moved

    return rf.verify(fgsm)


@pytest.mark.parametrize(
    ("steps", "share", "size"), [(2, 1.0, "epsilon"), (5, 0.2, "epsilon / steps"), (10, 0.25, "2.5 epsilon / steps")]
)
def test_counts_steps(steps: int, share: float, size: str) -> None:
    reading = next(one for one in iterated(steps, share).stages if one.stage == "steps")
    assert (reading.verdict, reading.cause) == ("wrong", "iterated")
    assert reading.measured == {"heard": steps, "steps": steps, "step_size": size}


def test_several_gradients_at_the_image_are_one_step() -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return torch.stack([right(model, x, y, epsilon) for _ in range(3)]).mean(0)

    assert wrong_stages(rf.verify(fgsm)) == []
