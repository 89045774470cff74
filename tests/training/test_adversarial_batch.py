"""The crafted images are those of the papers, derived by hand for a linear network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm.spec import PIXEL_BOUNDS
from robustbench_fgsm.training.adversarial_batch import craft_training_images
from robustbench_fgsm.training.recipe import TrainingRecipe

UPHILL = torch.tensor([-1.0, 1.0, -1.0])
"""Of the loss of label 0: the gradient is W^T (softmax - onehot) = p1 (w1 - w0), of the sign of w1 - w0."""


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -1.0, 2.0], [0.0, 1.0, -1.0]]))
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        return x @ self.weight.T


def crafted(method: str, x: Tensor, **settings: object) -> Tensor:
    recipe = TrainingRecipe(method, 0.1, **settings)  # type: ignore[arg-type]
    return craft_training_images(Linear(), x, torch.zeros(len(x), dtype=torch.int64), recipe, PIXEL_BOUNDS)


def test_fgsm_is_a_full_step() -> None:
    torch.testing.assert_close(crafted("fgsm", torch.full((2, 3), 0.5)), (0.5 + 0.1 * UPHILL).expand(2, 3))


def test_n_fgsm_clips_to_pixel_bounds_only() -> None:
    x = torch.full((2000, 3), 0.5)
    offset = crafted("n-fgsm", x) - x - 0.1 * UPHILL
    assert float(offset.abs().max()) <= 0.2 + 1e-6
    assert float(offset.abs().max()) > 0.199
    torch.testing.assert_close(offset.mean(0), torch.zeros(3), atol=0.01, rtol=0)
    torch.testing.assert_close(offset.std(0), torch.full((3,), 0.4 / 12**0.5), atol=0.005, rtol=0)


def test_fgsm_rs_projects_onto_the_ball() -> None:
    x = torch.full((2000, 3), 0.5)
    offset = (crafted("fgsm-rs", x) - x) * UPHILL
    assert float(offset.max()) <= 0.1 + 1e-6
    assert float(offset.min()) >= 0.25 * 0.1 - 1e-6  # 1.25 epsilon uphill from no farther than epsilon downhill
    assert float((offset > 0.1 - 1e-6).float().mean()) == pytest.approx(0.625, abs=0.02)  # noise above -0.25 epsilon


@pytest.mark.parametrize("method", ["fgsm", "fgsm-rs", "n-fgsm"])
def test_clamp(method: str) -> None:
    torch.manual_seed(0)
    x = torch.tensor([[0.0, 1.0, 0.0]]).repeat(50, 1)
    assert all(float(end) in (0.0, 1.0) for end in crafted(method, x).aminmax())
    low, high = crafted(method, x, clamp=False).aminmax()
    assert float(low) < 0 < 1 < float(high)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_craft_mode(mode: str) -> None:
    network = Linear().eval()
    craft_training_images(
        network, torch.rand(2, 3), torch.zeros(2, dtype=torch.int64), TrainingRecipe("fgsm", craft_mode=mode), PIXEL_BOUNDS
    )
    assert network.modes == [mode == "train"]
    assert network.training
    assert network.weight.grad is None
