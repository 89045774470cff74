"""What a candidate was written for is found by trying."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.verification.own_network import own_network_calls
from tests.verification.candidates.family import projected
from tests.verification.conftest import right


def ten_classes(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    if model(x[:1]).shape[1] != 10:
        raise ValueError("ten classes only")
    return right(model, x, y, epsilon)


def grey(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return right(model, x.view(-1, 1, 28, 28), y, epsilon)


def single(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    if model(x).argmax(1).item() != y.item():
        pass
    return right(model, x, y, epsilon)


@pytest.mark.parametrize(
    ("candidate", "remedy", "options"),
    [
        (ten_classes, "--classes 10", {"classes": 10}),
        (grey, "--image-shape 1x28x28", {"image_shape": "1x28x28"}),
        (single, "--one-image", {"one_image": True}),
    ],
)
def test_the_remedy_helps(candidate: Any, remedy: str, options: dict[str, Any]) -> None:
    found = rf.verify(candidate)
    assert (found.verdict, found.exit_code) == ("incomplete", 1)
    assert remedy in found.limitations[0].remedy
    assert rf.verify(candidate, **options).verdict == "right"


def steps_within(epsilon: float) -> Any:
    """Return PGD that refuses budgets below its step size, as CleverHans does."""

    def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        if epsilon > eps:
            raise ValueError("the step is larger than the budget")
        found: Tensor = projected(size=lambda _: epsilon)(model, x, y, eps)
        return found

    return pgd


def test_budgets_below_a_step_in_pixels_may_be_refused() -> None:
    settings: dict[str, Any] = {"method": "pgd", "step_size": "2.55/255"}
    assert rf.verify(steps_within(0.01), **settings).verdict == "right"
    refused = rf.verify(steps_within(0.1), cases=["rows", "size"], **{**settings, "step_size": "25.5/255"})
    assert refused.verdict == "incomplete"
    assert "the step is larger than the budget" in refused.limitations[0].text


def for_normalised_images(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(net(leaf), y, reduction="sum"), leaf)
    return torch.max(torch.min(x + eps / std * gradient.sign(), (1 - mean) / std), -mean / std)


def test_a_candidate_for_normalised_images() -> None:
    found = rf.verify(for_normalised_images, image_shape="3x32x32")
    assert found.verdict == "wrong"
    assert [one.remedy for one in found.limitations] == ["pass --style normalised"]
    assert rf.verify(for_normalised_images, style="normalised", image_shape="3x32x32").verdict == "right"


def test_a_candidate_that_never_runs() -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return model.features(x)  # type: ignore[operator, no-any-return]

    found = rf.verify(fgsm)
    assert found.verdict == "incomplete"
    assert "features" in found.limitations[0].text
    assert "--model" in found.limitations[0].remedy


def test_the_time_limit() -> None:
    def slow(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        while True:
            torch.zeros(1)

    found = rf.verify(slow, time_limit=0.2)
    assert "takes longer than 0.2 s" in found.limitations[0].text


def in_notebook(mean: float, std: float) -> Any:
    def fgsm(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(net(leaf), y, reduction="sum"), leaf)
        return (x + eps / std * gradient.sign()).clamp(-mean / std, (1 - mean) / std)

    return fgsm


def test_a_candidate_with_a_usual_normalisation_of_its_own() -> None:
    found = rf.verify(in_notebook(0.1307, 0.3081), style="normalised")
    assert found.verdict == "right"
    assert "MNIST's mean 0.1307 and std 0.3081" in found.candidate.note
    (wrong_style,) = rf.verify(in_notebook(0.1307, 0.3081)).limitations
    assert "MNIST" in wrong_style.text
    assert wrong_style.remedy == "pass --style normalised"


def test_a_candidate_with_an_unusual_normalisation() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    images = (torch.rand(8, 1, 8, 8), torch.arange(8) % 4)
    calls = own_network_calls(rf.wrap(network, 4, mean=0.2, std=0.7), rf.load_data(images))
    candidate = in_notebook(0.2, 0.7)
    (limitation,) = rf.verify(candidate, style="normalised").limitations
    assert "--mean and --std" in limitation.remedy
    assert rf.verify(candidate, style="normalised", extra=calls).verdict == "right"
