"""The loss and the labels are recognised by signs and by what the network heard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf
from robustbench_fgsm.verification.stages.loss import Hypothesis, best_hypothesis, label_rules
from tests.verification.conftest import attack, reading_of, wrong_stages


def temperature(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits / 20, labels)


def norm_of_logits(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.tanh() * torch.arange(10.0)).sum()


@pytest.mark.parametrize(
    ("loss", "cause", "text"),
    [
        (lambda z, y: functional.cross_entropy(z.softmax(1), y), "double-softmax", "softmax twice"),
        (functional.nll_loss, "nll-on-logits", "minus the logit of the label"),
        (lambda z, y: functional.cross_entropy(z, y, label_smoothing=0.1), "other-loss", "label smoothing 0.1"),
        (functional.multi_margin_loss, "other-loss", "hinge"),
        (temperature, "other-loss", "temperature 20"),
    ],
    ids=["double-softmax", "nll-on-logits", "smoothing", "hinge", "temperature"],
)
def test_names_the_loss(loss: Callable[..., Tensor], cause: str, text: str) -> None:
    reading = reading_of("loss", attack(loss=loss))
    assert (reading.verdict, reading.cause) == ("wrong", cause)
    assert text in reading.text
    assert reading.measured["wrong_share"] < 0.001


def test_describes_a_loss_without_a_name() -> None:
    found = rf.verify(attack(loss=norm_of_logits))
    assert wrong_stages(found) == ["loss"]
    loss = found.stages[0]
    assert "none that has a name" in loss.text
    assert len(loss.measured["logit_gradient"]) == 10


def test_a_loss_without_labels_has_wrong_labels_too() -> None:
    found = rf.verify(attack(loss=lambda z, y: z.sum()))
    assert wrong_stages(found) == ["loss", "labels"]


@pytest.mark.parametrize(
    ("labels", "cause", "rule"),
    [
        (lambda model, x, y: model(x).argmax(1), "predicted-labels", "predicted"),
        (lambda model, x, y: (y + 1) % len(model(x)[0]), "label-offset", "shifted by 1"),
        (lambda model, x, y: torch.zeros_like(y), "other-labels", "class 0 for all images"),
        (lambda model, x, y: (y - 1).clamp_min(0), "other-labels", "another class for each image"),
    ],
    ids=["predicted", "offset", "constant", "from one"],
)
def test_names_the_labels(labels: Callable[..., Tensor], cause: str, rule: str) -> None:
    reading = reading_of("labels", attack(labels=labels))
    assert (reading.cause, reading.measured["rule"]) == (cause, rule)


def test_recognises_a_regulariser_by_pixels_that_the_network_does_not_see() -> None:
    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        leaf = x.clone().requires_grad_()
        loss = functional.cross_entropy(model(leaf), y, reduction="sum") + 0.1 * (leaf[..., 1:] - leaf[..., :-1]).square().sum()
        (grad,) = torch.autograd.grad(loss, leaf)
        return (x + epsilon * grad.sign()).clamp(0, 1)

    assert reading_of("loss", fgsm).cause == "added-regulariser"


def test_the_simplest_of_equal_hypotheses_is_best() -> None:
    odd, plain, far = (
        Hypothesis("margin", "predicted", False, 0.0),
        Hypothesis("ce", "given", True, 0.0002),
        Hypothesis("mse", "given", True, 0.2),
    )
    assert best_hypothesis(iter([odd, plain, far])) == plain
    assert best_hypothesis(iter([])) is None


def test_rules_of_labels() -> None:
    rules = label_rules(torch.tensor([[0.0, 3.0, 1.0, -2.0]]), torch.tensor([1]))
    assert {name: int(label) for name, label in rules.items() if not name.startswith("class")} == {
        "given": 1,
        "predicted": 1,
        "least likely": 3,
        "second most likely": 2,
        "shifted by 1": 2,
        "shifted by -1": 0,
        "shifted by 2": 3,
        "shifted by -2": 3,
        "most likely wrong class": 2,
        "reversed order of the classes": 2,
        "order by name of classes 1, 2, ...": 1,
    }
