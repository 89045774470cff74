"""Two mistakes at once are both named, and what no known mistake explains is shown pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf

TIME_LIMIT = 60.0


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad(functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    return torch.as_tensor(grad)


def normalised_no_clip(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    z = ((x - model.mean) / model.std).requires_grad_()
    (grad,) = torch.autograd.grad(functional.cross_entropy(model.network(z), y), z)
    moved: Tensor = (z + epsilon * grad.sign()) * model.std + model.mean
    return moved.detach()


def predicted_wrong_sign(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x - epsilon * gradient(model, x, model(x).argmax(1)).sign()).clamp(0, 1)


def double_softmax_rounded(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = (x + epsilon * gradient(nn.Sequential(model, nn.Softmax(1)), x, y).sign()).clamp(0, 1)
    return adv.mul(255).round().div(255)


def train_mode_no_clip(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = x + epsilon * gradient(model.train(), x, y).sign()
    model.eval()
    return adv


def offset_raw(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, (y + 1) % 4)).clamp(0, 1)


def channels_no_clip(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return x + epsilon * gradient(model, x.flip(1), y).flip(1).sign()


def skipping_normalised(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = (x + epsilon * model.std * gradient(model, x, y).sign()).clamp(0, 1)
    correct = model(x).argmax(1) == y
    return torch.where(correct.view(-1, 1, 1, 1), adv, x)


def iterated_no_clip(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = x.clone()
    for _ in range(5):
        adv = adv + epsilon / 5 * gradient(model, adv, y).sign()
    return adv


def random_start_no_clip(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = (x + (torch.rand_like(x) * 2 - 1) * epsilon).clamp(0, 1)
    adv = adv + epsilon * gradient(model, adv, y).sign()
    return x + (adv - x).clamp(-epsilon, epsilon)


def margin_half(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    logits = model(leaf)
    others = logits.masked_fill(functional.one_hot(y, logits.shape[1]).bool(), -1e9).amax(1)
    (grad,) = torch.autograd.grad((others - logits[torch.arange(len(y)), y]).sum(), leaf)
    return (x + epsilon / 2 * grad.sign()).clamp(0, 1)


def grey_minus_one_to_one(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    grey = gradient(model, x, y).mean(1, keepdim=True)
    return (x + epsilon * grey.sign()).clamp(-1, 1)


def down_by_255(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x - epsilon / 255 * gradient(model, x, y).sign()).clamp(0, 1)


def norm_2_truncated(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    grad = gradient(model, x, y)
    adv = (x + epsilon * grad / grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(0, 1)
    return torch.as_tensor((adv * 255).to(torch.uint8) / 255)


def transposed_skipping(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = (x + epsilon * gradient(model, x, y).transpose(2, 3).sign()).clamp(0, 1)
    adv[model(x).argmax(1) != y] = x[model(x).argmax(1) != y]
    return adv


def shifted_batch_range(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    adv = (x + epsilon * gradient(model, x, y).sign()).clamp(float(x.min()), float(x.max()))
    return adv.roll(1, 0)


PAIRS: dict[Callable[..., Any], set[str]] = {
    normalised_no_clip: {"normalised-epsilon", "no-clip"},
    predicted_wrong_sign: {"predicted-labels", "wrong-sign"},
    double_softmax_rounded: {"double-softmax", "quantised-8bit"},
    train_mode_no_clip: {"train-mode", "no-clip"},
    offset_raw: {"label-offset", "raw-gradient"},
    channels_no_clip: {"channel-order", "no-clip"},
    skipping_normalised: {"skips-misclassified", "normalised-epsilon"},
    iterated_no_clip: {"iterated", "no-clip"},
    random_start_no_clip: {"random-start", "no-clip"},
    margin_half: {"other-loss", "wrong-epsilon"},
    grey_minus_one_to_one: {"per-channel-grey", "wrong-clip-range"},
    down_by_255: {"wrong-sign", "epsilon-scale-255"},
    norm_2_truncated: {"wrong-norm", "truncated-8bit"},
    transposed_skipping: {"axis-scramble", "skips-misclassified"},
    shifted_batch_range: {"clip-to-batch-range", "misaligned-images"},
}


@pytest.mark.parametrize("candidate", PAIRS, ids=lambda candidate: candidate.__name__)
def test_names_both_mistakes(candidate: Callable[..., Any]) -> None:
    found = rf.verify(candidate, time_limit=TIME_LIMIT)
    assert found.verdict == "wrong"
    assert {finding.cause for finding in found.diagnosis[:2]} == PAIRS[candidate], found.diagnosis


def test_unknown_mistake_of_one_case() -> None:
    def elsewhere(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return (x + epsilon * gradient(model, x.square(), y).sign()).clamp(0, 1)

    (finding,) = rf.verify(elsewhere, cases=["colour"], time_limit=TIME_LIMIT).diagnosis
    assert finding.cause == "unknown"
    assert "image 0 pixel" in finding.evidence


def right(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    leaf = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(leaf), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    return (x + epsilon * (-grad if targeted else grad).sign()).clamp(0, 1)


def test_unknown_mistake_shows_pixels() -> None:
    def odd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        moved = right(model, x, y, 1e-3) - x
        return (x + epsilon * torch.sin(1000 * x * moved.sign())).clamp(0, 1)

    (finding,) = rf.verify(odd, cases=["colour", "grey"]).diagnosis
    assert finding.cause == "unknown"
    assert "no known mistake explains them" in finding.evidence
    assert finding.evidence.count("gradient ") == 3
