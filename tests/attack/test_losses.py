"""Losses by hand, and cross-entropy where its arithmetic fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_fgsm.attack.fgsm import StepSettings, compute_gradient_step, fgsm
from robustbench_fgsm.attack.gradient import input_gradient, loss_gradient, predict_outputs
from robustbench_fgsm.attack.losses import LOSSES, cross_entropy, get_loss, margin_loss, stable_cross_entropy, to_probabilities
from robustbench_fgsm.errors import SettingError

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [0.5, 3.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        ("ce", LOGITS),
        ("ce", LOGITS.log_softmax(1)),
        ("log-probabilities", LOGITS.log_softmax(1)),
        ("probabilities", LOGITS.softmax(1)),
    ],
)
def test_cross_entropy_of_any_output(loss: str, outputs: Tensor) -> None:
    expected = -LOGITS.softmax(1)[[0, 1], LABELS].log()
    torch.testing.assert_close(get_loss(loss)(outputs, LABELS), expected)


def test_margin_is_not_clamped() -> None:
    assert margin_loss(LOGITS, LABELS).tolist() == [-1.0, 3.0]


def test_a_callable_is_a_loss(linear: nn.Linear) -> None:
    x, y = torch.rand(3, 2, dtype=torch.float64), torch.tensor([0, 1, 2])
    ours = fgsm(linear, x, y, 0.1, loss=lambda outputs, labels: -outputs.gather(1, labels[:, None]).squeeze(1))
    weights = linear.weight.detach()[y]
    assert torch.equal(ours, (x - 0.1 * weights.sign()).clamp(0, 1))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_one_value_per_image(name: str) -> None:
    assert LOSSES[name](LOGITS.softmax(1), LABELS).shape == (2,)


def exact_direction(weight: Tensor, x: Tensor, label: int, *, targeted: bool) -> list[int]:
    """Signs of W^T (softmax - onehot) in 400 digits."""
    with mpmath.workdps(400):
        rows = [[mpmath.mpf(value) for value in row] for row in weight.double().tolist()]
        pixels = [mpmath.mpf(value) for value in x.double().tolist()]
        logits = [mpmath.fdot(row, pixels) for row in rows]
        total = mpmath.fsum(mpmath.exp(logit) for logit in logits)
        slack = [mpmath.exp(logit) / total - (k == label) for k, logit in enumerate(logits)]
        columns = zip(*rows, strict=True)
        return [int(mpmath.sign(mpmath.fdot(slack, column))) * (-1 if targeted else 1) for column in columns]


def head(gap: float) -> tuple[nn.Linear, Tensor]:
    """A random linear head of ten classes and an image on which class 0 leads the next by the gap."""
    generator = torch.Generator().manual_seed(0)
    layer, x = nn.Linear(200, 10, bias=False), torch.rand(200, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(10, 200, generator=generator) * 0.05)
        logits = layer.weight @ x
        layer.weight[0] += (logits[1:].max() + gap - logits[0]) * x / (x @ x)
    return layer, x


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("gap", [5, 17, 40, 150])
def test_stable_has_every_sign_right(gap: float, targeted: bool) -> None:
    layer, x = head(gap)
    expected = exact_direction(layer.weight, x, 0, targeted=targeted)
    settings = StepSettings(math.inf, targeted, stable=True)
    found = compute_gradient_step(layer, x[None], torch.tensor([0]), settings)
    assert found.direction[0].int().tolist() == expected


def opposed_head(gap: float, dtype: torch.dtype) -> tuple[nn.Linear, Tensor]:
    """Two classes with weights w_0 = 2 w_1, and an image on which class 0 leads by w_1 . x = gap.

    The gradient is (1 - p_0) (w_1 - w_0) = -(1 - p_0) w_1. If p_0 rounds to 1, the term of w_0 is lost, and p_1 w_1 remains.
    """
    layer, x = nn.Linear(4, 2, bias=False, dtype=dtype), torch.full((4,), 0.5, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[gap], [gap / 2]]).expand(2, 4))
    return layer, x


@pytest.mark.parametrize(("gap", "dtype"), [(20, torch.float32), (40, torch.float32), (80, torch.float32), (40, torch.float64)])
def test_plain_cross_entropy_flips_saturated_signs(gap: float, dtype: torch.dtype) -> None:
    layer, x = opposed_head(gap, dtype)
    assert exact_direction(layer.weight, x, 0, targeted=False) == [-1] * 4
    for stable, sign in ((False, 1), (True, -1)):
        found = compute_gradient_step(layer, x[None], torch.tensor([0]), StepSettings(math.inf, stable=stable))
        assert found.direction[0].tolist() == [sign] * 4


def test_plain_cross_entropy_underflows() -> None:
    layer, x = opposed_head(150, torch.float32)
    for stable, sign in ((False, 0), (True, -1)):
        found = compute_gradient_step(layer, x[None], torch.tensor([0]), StepSettings(math.inf, stable=stable))
        assert found.direction[0].tolist() == [sign] * 4


def test_stable_equals_plain_without_cancellation() -> None:
    layer, x = head(2)
    y = torch.tensor([0])
    plain, outputs = input_gradient(layer, x[None], y, cross_entropy)
    stable, _ = input_gradient(layer, x[None], y, stable_cross_entropy)
    torch.testing.assert_close(plain, (1 - outputs.softmax(1)[0, 0]) * stable, rtol=1e-5, atol=1e-8)


def test_stable_belongs_to_cross_entropy() -> None:
    with pytest.raises(SettingError, match="stable needs loss ce"):
        get_loss("margin", stable=True)


@pytest.mark.parametrize("squeeze", [True, False])
def test_one_logit_is_the_second_class(squeeze: bool) -> None:
    """Binary cross-entropy with logits has the gradient (sigmoid(z) - y) w."""

    class Binary(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = x @ torch.tensor([[1.0], [-2.0]])
            return z.squeeze(1) if squeeze else z

    x, y = torch.tensor([[0.5, 0.5], [0.2, 0.9]]), torch.tensor([0, 1])
    gradient, outputs = loss_gradient(Binary(), x, y, cross_entropy)
    z = x @ torch.tensor([1.0, -2.0])
    torch.testing.assert_close(outputs, torch.stack([torch.zeros(2), z], 1))
    torch.testing.assert_close(gradient, (z.sigmoid() - y)[:, None] * torch.tensor([[1.0, -2.0]]))
    assert torch.equal(predict_outputs(Binary(), x), outputs)


IMAGES = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
LAYER = nn.Conv2d(3, 2, 3, padding=1)
MASKS = (torch.rand(4, 5, 5, generator=torch.Generator().manual_seed(1)) > 0.5).long()


def pixel_loss(outputs: Tensor, masks: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, masks, reduction="none").flatten(1).mean(1)


def forward_mapping(x: Tensor) -> dict[str, Tensor]:
    return {"map": LAYER(x), "mean": LAYER(x).mean((1, 2, 3))}


def mapping_loss(outputs: dict[str, Tensor], y: dict[str, Tensor]) -> Tensor:
    return pixel_loss(outputs["map"], y["map"]) + (outputs["mean"] - y["mean"]).square()


OWN_LOSSES: dict[str, tuple[Callable[[Tensor], Any], Any, Callable[[Any, Any], Tensor]]] = {
    "masks": (LAYER, MASKS, pixel_loss),
    "floats": (lambda x: LAYER(x).mean((1, 2, 3)), torch.linspace(0, 1, 4), lambda z, y: (z - y).square()),
    "column": (lambda x: LAYER(x).mean((2, 3))[:, :1], torch.linspace(0, 1, 4), lambda z, y: (z - y.unsqueeze(1)).square()),
    "multi-hot": (
        lambda x: LAYER(x).mean((2, 3)),
        torch.eye(2).repeat(2, 1),
        lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1),
    ),
    "mapping": (forward_mapping, {"map": MASKS, "mean": torch.zeros(4)}, mapping_loss),
    "list": (LAYER, [0.5, 0.1, 0.2, 0.3], lambda z, y: (z.mean((1, 2, 3)) - torch.tensor(y)).square()),
    "text": (LAYER, "brighter", lambda z, y: z.mean((1, 2, 3)) * (1 if y == "brighter" else -1)),
}


@pytest.mark.parametrize(("model", "y", "loss"), OWN_LOSSES.values(), ids=OWN_LOSSES)
@pytest.mark.parametrize("targeted", [False, True])
def test_own_losses_take_any_labels(model: Callable[[Tensor], Any], y: Any, loss: Callable[..., Tensor], *, targeted: bool) -> None:
    leaf = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(model(leaf), y).sum(), leaf)
    sign = -gradient.sign() if targeted else gradient.sign()
    assert torch.equal(fgsm(model, IMAGES, y, 0.1, loss=loss, targeted=targeted), (IMAGES + 0.1 * sign).clamp(0, 1))


def test_own_losses_take_own_predictions() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(75, 3))
    assert torch.equal(fgsm(network, IMAGES, loss=cross_entropy), fgsm(network, IMAGES))


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        (functional.cross_entropy, r"\(4,\), got a scalar: pass reduction=\"none\""),
        (lambda z, y: functional.cross_entropy(z, y, reduction="none"), r"got \(4, 5, 5\): .*\.flatten\(1\)\.mean\(1\)"),
        (lambda _z, _y: 3.0, r"got float: return a tensor"),
        (lambda z, y: pixel_loss(z, y)[:2], r"got \(2,\)"),
    ],
)
def test_own_losses_return_one_value_per_image(loss: Callable[..., Any], problem: str) -> None:
    with pytest.raises(SettingError, match=f"one value per image.*{problem}"):
        fgsm(LAYER, IMAGES, MASKS, loss=loss)
    remedied = lambda z, y: functional.cross_entropy(z, y, reduction="none").flatten(1).mean(1)  # noqa: E731
    assert torch.equal(fgsm(LAYER, IMAGES, MASKS, loss=remedied), fgsm(LAYER, IMAGES, MASKS, loss=pixel_loss))


def test_a_column_of_values_or_a_scalar_of_one_image() -> None:
    expected = fgsm(LAYER, IMAGES[:1], MASKS[:1], loss=pixel_loss)
    assert torch.equal(fgsm(LAYER, IMAGES[:1], MASKS[:1], loss=functional.cross_entropy), expected)
    assert torch.equal(
        fgsm(LAYER, IMAGES, MASKS, loss=lambda z, y: pixel_loss(z, y).unsqueeze(1)), fgsm(LAYER, IMAGES, MASKS, loss=pixel_loss)
    )


@pytest.mark.parametrize("last", [torch.sigmoid, lambda z: z])
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_binary_cross_entropy_as_pytorch_has_it(last: Callable[[Tensor], Tensor], scale: float) -> None:
    outputs = last(scale * torch.randn(50, 4, generator=torch.Generator().manual_seed(3)))
    labels, is_logits = torch.arange(50) % 4, bool((outputs > 1).any())
    outputs.requires_grad_()
    name = "bce-with-logits" if is_logits else "bce"
    theirs = functional.binary_cross_entropy_with_logits if is_logits else functional.binary_cross_entropy
    for y, rows in ((labels, functional.one_hot(labels).float()), (functional.one_hot(labels), functional.one_hot(labels).float())):
        ours = torch.autograd.grad(get_loss(name)(outputs, y).sum(), outputs)[0]
        assert torch.equal(ours, torch.autograd.grad(theirs(outputs, rows, reduction="sum"), outputs)[0])


def test_binary_cross_entropy_of_numbers_that_are_no_probabilities() -> None:
    outputs = torch.tensor([[2.0, 0.5], [math.nan, 0.5], [0.5, 0.5]])
    assert get_loss("bce")(outputs, torch.tensor([0, 0, 0])).isfinite().all()


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [("ce", LOGITS), ("probabilities", LOGITS.softmax(1)), ("bce-with-logits", LOGITS), ("bce", LOGITS.sigmoid())],
)
def test_to_probabilities(loss: str, outputs: Tensor) -> None:
    expected = LOGITS.sigmoid() if loss.startswith("bce") else LOGITS.softmax(1)
    torch.testing.assert_close(to_probabilities(outputs, loss), expected)
