"""Attacks of FGSM's family written in unusual ways, and wrong ones of kinds that public trackers do not name.

RIGHT holds a name -> (attack, settings of `verify`). WRONG also holds the stage that must be wrong, and its known mistake if the
measurement has a name.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.verification.candidates.family import Attack, ball, box, gradient, in_box, lengths, over_l1, projected, unit

PGD, PGD_L2, BIM, MI = {"method": "pgd"}, {"method": "pgd", "norm": "2"}, {"method": "bim"}, {"method": "mi-fgsm"}
START = {"method": "pgd", "random_start": True}


def with_functional_gradient(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    def loss(images: Tensor) -> Tensor:
        return functional.cross_entropy(model(images), y, reduction="sum")

    x_adv = x
    for _ in range(10):
        x_adv = (x + box(x_adv + epsilon / 10 * torch.func.grad(loss)(x_adv).sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def with_a_gradient_for_each_image(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    def loss(image: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(model(image.unsqueeze(0)), label.unsqueeze(0))

    x_adv = x
    for _ in range(10):
        found = torch.func.vmap(torch.func.grad(loss))(x_adv, y)
        x_adv = (x + ball(x_adv + 0.25 * epsilon * unit(found) - x, epsilon)).clamp(0, 1)
    return x_adv


def with_a_vector_jacobian_product(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv, total = x, torch.zeros_like(x)
    for _ in range(10):
        logits, pull_back = torch.func.vjp(model, x_adv)[:2]
        total = total + over_l1(pull_back(logits.softmax(1) - functional.one_hot(y, logits.shape[1]))[0])
        x_adv = (x + box(x_adv + epsilon / 10 * total.sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def in_numpy(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Any:
    images = x.numpy().copy()
    moved = images + np.random.uniform(-epsilon, epsilon, images.shape).astype(np.float32)
    moved = np.clip(moved, 0, 1)
    for _ in range(10):
        grad = gradient(model, torch.from_numpy(moved), y).numpy()
        moved = np.clip(np.clip(moved + 0.25 * epsilon * np.sign(grad), images - epsilon, images + epsilon), 0, 1)
        moved = moved.astype(np.float32)
    return moved


class Stateful:
    """PGD as an object that keeps its arguments and counts its calls."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.calls = 0
        self.history: list[Tensor] = []

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        self.calls += 1
        self.model, self.x, self.history = model, x, [x.clone()]
        for _ in range(self.steps):
            self.history.append(self.step(self.history[-1], y, epsilon))
        return self.history[-1]

    def step(self, x_adv: Tensor, y: Tensor, epsilon: float) -> Tensor:
        moved = x_adv + 0.25 * epsilon * gradient(self.model, x_adv, y).sign()
        return torch.min(torch.max(moved, self.x - epsilon), self.x + epsilon).clamp(0, 1)


def in_float64(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    network, images = copy.deepcopy(model).double(), x.double()
    x_adv = images
    for _ in range(10):
        x_adv = (images + ball(x_adv + 0.25 * epsilon * unit(gradient(network, x_adv, y)) - images, epsilon)).clamp(0, 1)
    return x_adv


def in_255(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    images, budget = 255 * x, 255 * epsilon
    moved = images.clone()
    for _ in range(10):
        leaf = moved.clone().requires_grad_()
        (grad,) = torch.autograd.grad(functional.cross_entropy(model(leaf / 255), y), leaf)
        moved = (images + box(moved + 0.1 * budget * grad.sign() - images, budget)).clamp(0, 255)
    return moved / 255


def in_mini_batches(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    parts = [slice(start, start + 5) for start in range(0, len(x), 5)]
    return torch.cat([projected(size=lambda e: 0.1 * e)(model, x[part], y[part], epsilon) for part in parts])


def image_after_image(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for k in range(len(x)):
        x_adv[k] = projected(unit, project=ball)(model, x[k : k + 1], y[k : k + 1], epsilon)[0]
    return x_adv


def with_an_optimiser(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    delta = nn.Parameter(torch.zeros_like(x))
    optimiser = torch.optim.SGD([delta], lr=0.25 * epsilon or 1.0, maximize=True)
    for _ in range(10):
        optimiser.zero_grad()
        functional.cross_entropy(model(x + delta), y).backward(inputs=[delta])  # type: ignore[no-untyped-call]
        assert delta.grad is not None
        delta.grad.sign_()
        optimiser.step()
        with torch.no_grad():
            delta.copy_((x + delta.clamp(-epsilon, epsilon)).clamp(0, 1) - x)
    return (x + delta).detach()


def with_renorm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    delta = torch.zeros_like(x)
    for _ in range(10):
        along = functional.normalize(gradient(model, x + delta, y).flatten(1)).view_as(x)
        delta = torch.renorm((delta + 0.25 * epsilon * along).flatten(1), 2, 0, epsilon).view_as(x)
        delta = (x + delta).clamp(0, 1) - x
    return x + delta


def recursive(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, depth: int = 10) -> Tensor:
    if not depth:
        return x.clone()
    before = recursive(model, x, y, epsilon, depth - 1)
    moved = before + epsilon / 10 * gradient(model, before, y).sign()
    return torch.where((moved - x).abs() <= epsilon, moved, x + epsilon * (moved - x).sign()).clamp(0, 1)


def down_the_negative_loss(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.contiguous(memory_format=torch.channels_last)
    for _ in range(10):
        leaf = x_adv.clone().requires_grad_()
        logits = model(leaf)
        margin = logits.gather(1, y[:, None]).squeeze(1) - logits.logsumexp(1)  # the negative cross-entropy
        (grad,) = torch.autograd.grad(margin.sum(), leaf)
        x_adv = (x + box(x_adv - 0.25 * epsilon * grad.sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def heard_by_a_hook(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    heard: list[Tensor] = []
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    x_adv = (x + epsilon * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)
    for _ in range(10):
        leaf = x_adv.clone().requires_grad_()
        leaf.register_hook(heard.append)  # type: ignore[no-untyped-call]
        functional.nll_loss(model(leaf).log_softmax(1), y).backward(inputs=[leaf])  # type: ignore[no-untyped-call]
        x_adv = (x + box(x_adv + 0.25 * epsilon * heard[-1].sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def momentum_over_the_mean(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv, total = x.clone(), torch.zeros_like(x)
    for _ in range(10):
        grad = gradient(model, x_adv, y)
        total += grad / grad.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-30)
        x_adv = (x + box(x_adv + epsilon / 10 * total.sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def random_signs_by_where(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    half = epsilon / 2
    start = torch.where(torch.rand_like(x) < 0.5, x - half, x + half).clamp(0, 1)
    grad = gradient(model, start, y)
    return (start + half * ((grad > 0).float() - (grad < 0).float())).clamp(0, 1)


RIGHT: dict[str, tuple[Attack, dict[str, Any]]] = {
    "torch.func.grad": (with_functional_gradient, BIM),
    "vmap": (with_a_gradient_for_each_image, PGD_L2),
    "vjp": (with_a_vector_jacobian_product, MI),
    "numpy": (in_numpy, START),
    "stateful": (Stateful(10), PGD),
    "float64": (in_float64, PGD_L2),
    "0 to 255": (in_255, BIM),
    "mini-batches": (in_mini_batches, BIM),
    "image after image": (image_after_image, PGD_L2),
    "optimiser": (with_an_optimiser, PGD),
    "renorm": (with_renorm, PGD_L2),
    "recursive": (recursive, BIM),
    "negative loss": (down_the_negative_loss, PGD),
    "hook": (heard_by_a_hook, START),
    "mean of magnitudes": (momentum_over_the_mean, MI),
    "where": (random_signs_by_where, {"method": "r+fgsm"}),
}


def walk(step: Any, start: Any = None, steps: int = 10) -> Attack:
    """Return PGD whose step is `step(model, x_adv, x, y, epsilon, index)`, before the projection."""

    def attack(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = x.clone() if start is None else start(x, epsilon)
        for index in range(steps):
            x_adv = (x + box(step(model, x_adv, x, y, epsilon, index) - x, epsilon)).clamp(0, 1)
        return x_adv

    return attack


def on_loss(loss: Any, scale: float = 1.0) -> Attack:
    """Return PGD on another loss of the logits and labels."""

    def step(model: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor, epsilon: float, index: int) -> Tensor:
        leaf = x_adv.clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss(model(leaf), y), leaf)
        return x_adv + scale * 0.25 * epsilon * grad.sign()

    return walk(step)


def at(place: Any) -> Attack:
    """Return PGD whose gradient is taken elsewhere than at the iterate."""
    return walk(lambda model, x_adv, x, y, e, k: x_adv + 0.25 * e * gradient(model, place(x_adv, e), y).sign())


def along(change: Any) -> Attack:
    """Return PGD along a changed gradient."""
    return walk(lambda model, x_adv, x, y, e, k: x_adv + 0.25 * e * change(gradient(model, x_adv, y)))


def looks_ahead(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv, total = x.clone(), torch.zeros_like(x)
    for _ in range(10):
        total = total + over_l1(gradient(model, x_adv + epsilon / 10 * total.sign(), y))
        x_adv = (x + box(x_adv + epsilon / 10 * total.sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def momentum_of_the_batch(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv, total = x.clone(), torch.zeros_like(x)
    for _ in range(10):
        grad = gradient(model, x_adv, y)
        total = total + grad / grad.abs().sum().clamp_min(1e-30)
        x_adv = (x + box(x_adv + epsilon / 10 * total.sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def every_second_gradient_at_the_image(model: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor, epsilon: float, index: int) -> Tensor:
    return x_adv + 0.25 * epsilon * gradient(model, x if index % 2 else x_adv, y).sign()


def gradients_add_up(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    delta = torch.zeros_like(x, requires_grad=True)
    for _ in range(10):
        functional.cross_entropy(model(x + delta), y, reduction="sum").backward(inputs=[delta])  # type: ignore[no-untyped-call]
        assert delta.grad is not None
        delta.data = (x + box(delta.data + 0.25 * epsilon * delta.grad.sign(), epsilon)).clamp(0, 1) - x
    return (x + delta).detach()


def through_the_clamps(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    x_adv: Tensor = leaf
    for _ in range(10):
        (grad,) = torch.autograd.grad(functional.cross_entropy(model(x_adv), y, reduction="sum"), leaf, retain_graph=True)
        x_adv = (x + (x_adv + 0.25 * epsilon * grad.sign() - x).clamp(-epsilon, epsilon)).clamp(0, 1)
    return x_adv.detach()


def always_to_the_sphere(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        delta = x_adv + 0.25 * epsilon * unit(gradient(model, x_adv, y)) - x
        x_adv = (x + delta * epsilon / lengths(delta)).clamp(0, 1)
    return x_adv


def mean_of_iterates(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    attacks = [projected(steps=steps)(model, x, y, epsilon) for steps in (9, 10)]
    return torch.stack(attacks).mean(0)


def in_train_mode(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    model.train()
    x_adv: Tensor = projected()(model, x, y, epsilon)
    model.eval()
    return x_adv


def gradient_at_the_image(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    start = (x + epsilon / 2 * torch.randn_like(x).sign()).clamp(0, 1)
    return (start + epsilon / 2 * gradient(model, x, y).sign()).clamp(0, 1)


def without_the_ball(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    start = in_box(x, epsilon)
    return (start + 1.25 * epsilon * gradient(model, start, y).sign()).clamp(0, 1)


def projects_first(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        x_adv = x + box(x_adv - x, epsilon)
        x_adv = (x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign()).clamp(0, 1)
    return x_adv


def as_many_as_kurakin(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    steps = int(min(255 * epsilon + 4, 1.25 * 255 * epsilon))
    x_adv: Tensor = projected(size=lambda e: 0.1 * e, steps=steps)(model, x, y, epsilon)
    return x_adv


def to_own_predictions(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    with torch.no_grad():
        predicted = model(x).argmax(1)
    x_adv: Tensor = projected()(model, x, predicted, epsilon)
    return x_adv


def to_the_least_likely(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    with torch.no_grad():
        target = model(x).argmin(1)
    x_adv: Tensor = projected(lambda grad: -grad.sign())(model, x, target, epsilon)
    return x_adv


def to_the_range_of_the_batch(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        moved = x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)
        x_adv = moved.clamp(float(x.min()), float(x.max()))
    return x_adv


def to_8_bits(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        moved = x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)
        x_adv = (255 * moved.clamp(0, 1)).round() / 255
    return x_adv


def smoothed(grad: Tensor) -> Tensor:
    return functional.avg_pool2d(grad, 3, stride=1, padding=1).sign()


def larger_half(grad: Tensor) -> Tensor:
    return grad.sign() * (grad.abs() >= grad.abs().flatten(1).median(1).values.view(-1, 1, 1, 1))


def in_a_corner(x: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * torch.rand_like(x)).clamp(0, 1)


def normal(x: Tensor, epsilon: float) -> Tensor:
    return (x + box(epsilon * torch.randn_like(x), epsilon)).clamp(0, 1)


WRONG: dict[str, tuple[Attack, dict[str, Any], str, str | None]] = {
    "steps that shrink": (
        walk(lambda model, x_adv, x, y, e, k: x_adv + 0.25 * e / 2**k * gradient(model, x_adv, y).sign()),
        PGD,
        "steps",
        None,
    ),
    "one gradient for the batch": (along(lambda grad: grad.mean(0, keepdim=True).sign().expand_as(grad)), PGD, "steps", None),
    "looks ahead": (looks_ahead, MI, "steps", None),
    "smoothed gradient": (along(smoothed), PGD, "steps", None),
    "gradient at a shifted image": (at(lambda x_adv, e: x_adv.roll(1, -1)), PGD, "steps", None),
    "gradient at a noisy image": (at(lambda x_adv, e: x_adv + 0.5 * e * torch.randn_like(x_adv)), PGD, "steps", None),
    "softmax twice": (on_loss(lambda logits, y: functional.cross_entropy(logits.softmax(1), y)), PGD, "loss", "double-softmax"),
    "label smoothing": (
        on_loss(lambda logits, y: functional.cross_entropy(logits, y, label_smoothing=0.3)),
        PGD,
        "loss",
        "other-loss",
    ),
    "least likely class": (to_the_least_likely, PGD, "labels", "least-likely-label"),
    "own predictions": (to_own_predictions, PGD, "labels", "predicted-labels"),
    "always on the sphere": (always_to_the_sphere, PGD_L2, "steps", None),
    "start in one corner": (projected(start=in_a_corner), START, "randomness", "start-in-wrong-ball"),
    "normal start": (projected(start=normal), START, "randomness", "start-in-wrong-ball"),
    "range of the batch": (to_the_range_of_the_batch, PGD, "steps", None),
    "gradients add up": (gradients_add_up, PGD, "steps", "stale-gradient"),
    "mean of two iterates": (mean_of_iterates, PGD, "steps", "wrong-step-count"),
    "train mode": (in_train_mode, PGD, "conduct", "statistics-drift"),
    "larger half of the pixels": (along(larger_half), PGD, "steps", None),
    "iterates of 8 bits": (to_8_bits, PGD, "output", "quantised-8bit"),
    "number of steps by epsilon": (as_many_as_kurakin, BIM, "steps", "wrong-step-count"),
    "momentum over the batch": (momentum_of_the_batch, MI, "steps", None),
    "gradient at the given image": (gradient_at_the_image, {"method": "r+fgsm"}, "randomness", "random-start-unused"),
    "no ball": (without_the_ball, {"method": "fgsm-rs"}, "steps", "wrong-ball"),
    "projection before the step": (projects_first, PGD, "output", None),
    "every second gradient at the image": (walk(every_second_gradient_at_the_image), PGD, "steps", None),
    "gradient through the clamps": (through_the_clamps, PGD, "steps", None),
}
