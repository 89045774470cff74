"""Gradients that are right, and models that do not notice."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustbench_fgsm import evaluate
from robustbench_fgsm.attack.fgsm import fgsm, fgsm_sweep
from robustbench_fgsm.attack.gradient import input_gradient, loss_gradient, predicted_classes
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.errors import ModelError, SettingError


def test_linear_gradient_by_hand(linear: nn.Linear) -> None:
    # x = (0, 0): logits 0, softmax 1/3 each; for label 1 softmax - onehot = (1/3, -2/3, 1/3)
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([1])
    gradient, outputs = input_gradient(linear, x, y, cross_entropy)
    expected = torch.tensor([[1 / 3 - 2 * 3 / 3, 2 / 3 + 2 * 4 / 3 + 1 / 3]], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected)
    assert torch.equal(outputs, torch.zeros(1, 3, dtype=torch.float64))


def test_gradient_is_independent_of_the_batch(linear: nn.Linear) -> None:
    x, y = torch.rand(7, 2, dtype=torch.float64), torch.arange(7) % 3
    whole, _ = input_gradient(linear, x, y, cross_entropy)
    alone = torch.cat([input_gradient(linear, x[i : i + 1], y[i : i + 1], cross_entropy)[0] for i in range(7)])
    torch.testing.assert_close(whole, alone, rtol=1e-14, atol=1e-16)


def test_labels_may_come_from_the_outputs(linear: nn.Linear) -> None:
    x = torch.rand(4, 2, dtype=torch.float64)
    passes = []
    linear.register_forward_hook(lambda *_: passes.append(1))
    gradient, outputs = input_gradient(linear, x, predicted_classes, cross_entropy)
    assert len(passes) == 1
    assert torch.equal(gradient, input_gradient(linear, x, outputs.argmax(1), cross_entropy)[0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_with_gradients_disabled(convolutional: nn.Module, mode: type[torch.no_grad]) -> None:
    x, y = torch.rand(2, 1, 6, 6), torch.tensor([0, 1])
    expected, _ = loss_gradient(convolutional, x, y, cross_entropy)
    with mode():
        inside, _ = loss_gradient(convolutional, x + 0, y + 0, cross_entropy)
    assert torch.equal(inside, expected)


class Stateful(nn.Module):
    """Counts its calls in a buffer, works in place, and draws random numbers: all of it must be undone."""

    calls: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(3)
        logits: Tensor = self.network(x.mul_(2).sub_(1))
        return logits


def snapshot(model: nn.Module) -> dict[str, object]:
    return {
        "flags": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grads": [None if parameter.grad is None else parameter.grad.tolist() for parameter in model.parameters()],
        "state": {key: value.tolist() for key, value in model.state_dict().items()},
        "random": torch.get_rng_state().tolist(),
    }


@pytest.fixture
def lived_in(convolutional: nn.Sequential) -> Stateful:
    """In train mode with batch norm frozen, one parameter frozen, and gradients lying about."""
    model = Stateful(convolutional).train()
    convolutional[1].eval()
    next(convolutional[0].parameters()).requires_grad_(False)
    model(torch.rand(2, 1, 6, 6)).sum().backward()
    return model


def test_no_trace_is_left(lived_in: Stateful) -> None:
    x, y = torch.rand(3, 1, 6, 6), torch.tensor([0, 1, 2])
    x_before, y_before, before = x.clone(), y.clone(), snapshot(lived_in)
    list(fgsm_sweep(lived_in, x, y, [0.1, 0.2]))
    assert snapshot(lived_in) == before
    assert torch.equal(x, x_before)
    assert torch.equal(y, y_before)
    assert not x.requires_grad
    assert x.grad is None


def test_a_failure_leaves_no_trace(lived_in: Stateful) -> None:
    def broken(outputs: Tensor, labels: Tensor) -> Tensor:
        raise ArithmeticError

    x, before = torch.rand(3, 1, 6, 6), snapshot(lived_in)
    with pytest.raises(SettingError, match="it raised ArithmeticError"):
        fgsm(lived_in, x, torch.tensor([0, 1, 2]), 0.1, loss=broken)
    assert snapshot(lived_in) == before


def test_train_mode_changes_no_result(convolutional: nn.Sequential) -> None:
    x, y = torch.rand(3, 1, 6, 6), torch.tensor([0, 1, 2])
    expected = fgsm(copy.deepcopy(convolutional).eval(), x, y, 0.1)
    assert torch.equal(fgsm(convolutional.train(), x, y, 0.1), expected)


def test_a_leaf_keeps_its_gradient(linear: nn.Linear) -> None:
    x = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    x.grad = torch.ones_like(x)
    x_adv = fgsm(linear, x, torch.tensor([0, 1]), 0.1)
    assert torch.equal(x.grad, torch.ones_like(x))
    assert not x_adv.requires_grad


WITHOUT_WEIGHTS: dict[str, Callable[[], nn.Module]] = {
    "lazy parameters": lambda: nn.LazyLinear(3),
    "lazy buffers": lambda: nn.Sequential(nn.Linear(4, 3), nn.LazyBatchNorm1d(affine=False)),
    "meta": lambda: nn.Linear(4, 3, device="meta"),
}


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_a_network_without_weights_is_left_without(name: str) -> None:
    network, x, y = WITHOUT_WEIGHTS[name](), torch.rand(8, 4), torch.arange(8) % 3
    for _ in range(2):
        with pytest.raises(ModelError, match=r"got '.*' empty: run the model on a batch, or load weights, first"):
            fgsm(network, x, y)
        with pytest.raises(ModelError, match=r"got '.*' empty: run the model on a batch, or load weights, first"):
            evaluate(network, (x, y))
    if name != "meta":
        network(x)  # as the message says
        assert fgsm(network, x, y).shape == x.shape
