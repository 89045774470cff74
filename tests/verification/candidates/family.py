"""Attacks of FGSM's family: right ones in usual styles, and the wrong ones that public trackers report.

RIGHT and WRONG hold a name -> (attack, settings of `verify`); WRONG also the stage and the known mistake that must be named, or the
number that must be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Attack = Callable[..., Any]


def gradient(model: nn.Module, x: Tensor, y: Tensor, reduction: str = "sum") -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    found: Tensor = torch.autograd.grad(functional.cross_entropy(model(leaf), y, reduction=reduction), leaf)[0]
    return found


def lengths(values: Tensor) -> Tensor:
    found: Tensor = values.flatten(1).norm(dim=1)
    return found.clamp_min(1e-12).view(-1, 1, 1, 1)


def unit(grad: Tensor) -> Tensor:
    return grad / lengths(grad)


def over(floor: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the direction of libraries that keep the norm of a gradient from zero."""
    return lambda grad: grad / floor(grad.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)


def over_l1(grad: Tensor) -> Tensor:
    return grad / grad.abs().flatten(1).sum(1).clamp_min(1e-30).view(-1, 1, 1, 1)


def box(delta: Tensor, radius: float) -> Tensor:
    return delta.clamp(-radius, radius)


def ball(delta: Tensor, radius: float) -> Tensor:
    return delta * (radius / lengths(delta)).clamp(max=1)


def at_image(x: Tensor, epsilon: float) -> Tensor:
    return x.clone()


def in_box(x: Tensor, epsilon: float) -> Tensor:
    return (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)


def in_ball(x: Tensor, epsilon: float) -> Tensor:
    return x + epsilon * torch.rand(len(x), 1, 1, 1) ** (1 / x[0].numel()) * unit(torch.randn_like(x))


def on_sphere(x: Tensor, epsilon: float) -> Tensor:
    return x + epsilon * unit(torch.randn_like(x))


def projected(
    direction: Callable[[Tensor], Tensor] = torch.sign,
    size: Callable[[float], float] = lambda epsilon: 0.25 * epsilon,
    project: Callable[[Tensor, float], Tensor] = box,
    start: Callable[[Tensor, float], Tensor] = at_image,
    steps: int = 10,
    reduction: str = "sum",
) -> Attack:
    """PGD with exchangeable parts."""

    def pgd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = start(x, epsilon)
        for _ in range(steps):
            x_adv = x_adv + size(epsilon) * direction(gradient(model, x_adv, y, reduction))
            x_adv = (x + project(x_adv - x, epsilon)).clamp(0, 1)
        return x_adv

    return pgd


def momentum(prepare: Callable[[Tensor], Tensor] = over_l1, decay: float = 1.0, memory: dict[Any, Tensor] | None = None) -> Attack:
    """MI-FGSM with exchangeable parts; memory keeps the sum from call to call."""

    def mi_fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv, total = x.clone(), torch.zeros_like(x)
        if memory is not None:
            total = memory.get(x.shape, total)
        for _ in range(10):
            total = decay * total + prepare(gradient(model, x_adv, y))
            x_adv = (x + box(x_adv + epsilon / 10 * total.sign() - x, epsilon)).clamp(0, 1)
        if memory is not None:
            memory[x.shape] = total
        return x_adv

    return mi_fgsm


def targeted_pgd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        step = 0.25 * epsilon * gradient(model, x_adv, y).sign()
        x_adv = (x + box(x_adv - step - x if targeted else x_adv + step - x, epsilon)).clamp(0, 1)
    return x_adv


def fgm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * unit(gradient(model, x, y))).clamp(0, 1)


def random_step(share: float, rest: float) -> Attack:
    """R+FGSM with shares of the budget for the random step and for the step along the gradient."""

    def r_fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        start = (x + share * epsilon * torch.randn_like(x).sign()).clamp(0, 1)
        return (start + rest * epsilon * gradient(model, start, y).sign()).clamp(0, 1)

    return r_fgsm


def fgsm_rs(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    delta = in_box(x, epsilon) - x
    delta = box(delta + 1.25 * epsilon * gradient(model, x + delta, y).sign(), epsilon)
    return (x + delta).clamp(0, 1)


def keeps_each_success(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """PGD that returns the last point at which each image was fooled, and clean images if there was none."""
    x_adv, best = x.clone(), x.clone()
    for _ in range(10):
        leaf = x_adv.clone().requires_grad_()
        logits = model(leaf)
        (grad,) = torch.autograd.grad(functional.cross_entropy(logits, y), leaf)
        fooled = logits.argmax(1) != y
        best[fooled] = x_adv[fooled]
        x_adv = (x + box(x_adv + 0.25 * epsilon * grad.sign() - x, epsilon)).clamp(0, 1)
    return best


def attacks_the_rest(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """PGD that goes on with the images that are not fooled yet."""
    x_adv = x.clone()
    for _ in range(10):
        with torch.no_grad():
            rest = model(x_adv).argmax(1) == y
        if not rest.any():
            break
        moved = x_adv[rest] + 0.25 * epsilon * gradient(model, x_adv[rest], y[rest]).sign()
        x_adv[rest] = (x[rest] + box(moved - x[rest], epsilon)).clamp(0, 1)
    return x_adv


def clips_before_projection(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """PGD in L2 in ART's order: another attack than with the clip last, and right."""
    x_adv = x.clone()
    for _ in range(10):
        moved = (x_adv + 0.25 * epsilon * unit(gradient(model, x_adv, y))).clamp(0, 1)
        x_adv = x + ball(moved - x, epsilon)
    return x_adv


RIGHT: dict[str, tuple[Attack, dict[str, Any]]] = {
    "fgm": (fgm, {"method": "fgm"}),
    "r+fgsm": (random_step(0.5, 0.5), {"method": "r+fgsm"}),
    "fgsm-rs": (fgsm_rs, {"method": "fgsm-rs"}),
    "bim": (projected(size=lambda epsilon: epsilon / 10), {"method": "bim"}),
    "bim in l2": (projected(unit, lambda epsilon: epsilon / 10, ball), {"method": "bim", "norm": "2"}),
    "pgd": (targeted_pgd, {"method": "pgd"}),
    "pgd, constant step": (
        projected(size=lambda _: 2 / 255, start=in_box, steps=7),
        {"method": "pgd", "steps": 7, "step_size": "2/255", "random_start": True},
    ),
    "pgd in l2": (projected(unit, project=ball, start=in_ball), {"method": "pgd", "norm": "2", "random_start": True}),
    "pgd in l2, tiny constant": (
        projected(over(lambda norm: norm + 1e-10), project=ball, reduction="mean"),
        {"method": "pgd", "norm": "2"},
    ),
    "pgd in l2, clip first": (clips_before_projection, {"method": "pgd", "norm": "2"}),
    "pgd, each success": (keeps_each_success, {"method": "pgd"}),
    "pgd, the rest": (attacks_the_rest, {"method": "pgd"}),
    "mi-fgsm": (momentum(), {"method": "mi-fgsm"}),
}


def first_gradient(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        x_adv = (x + box(x_adv + 0.25 * epsilon * gradient(model, x, y).sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def ball_around_the_iterate(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        moved = x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign()
        x_adv = (x_adv + box(moved - x_adv, epsilon)).clamp(0, 1)
    return x_adv


def start_not_added(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    in_box(x, epsilon)
    attack: Tensor = projected()(model, x, y, epsilon)
    return attack


def clips_before_the_step(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        x_adv = x_adv.clamp(0, 1)
        x_adv = x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)
    return x_adv


def ball_around_zero(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        x_adv = box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign(), epsilon).clamp(0, 1)
    return x_adv


def climbs_the_target(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    return targeted_pgd(model, x, y, epsilon)


def best_of_batch(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv, best, most = x.clone(), x, -1.0
    for _ in range(10):
        x_adv = (x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)).clamp(0, 1)
        with torch.no_grad():
            loss = float(functional.cross_entropy(model(x_adv), y))
        if loss > most:
            best, most = x_adv, loss
    return best


def stops_all(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        x_adv = (x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)).clamp(0, 1)
        with torch.no_grad():
            if bool((model(x_adv).argmax(1) != y).any()):
                break
    return x_adv


def steps_from_the_image(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    grad = gradient(model, in_box(x, epsilon), y)
    return (x + box(1.25 * epsilon * grad.sign(), epsilon)).clamp(0, 1)


def twice(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv: Tensor = projected()(model, x, y, epsilon)
    return (x_adv + (x_adv - x)).clamp(0, 1)


def last_update_lost(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = following = x.clone()
    for _ in range(10):
        x_adv = following
        following = (x + box(x_adv + epsilon / 10 * gradient(model, x_adv, y).sign() - x, epsilon)).clamp(0, 1)
    return x_adv


def above(threshold: float) -> Callable[[Tensor], Tensor]:
    """Return the sign of gradients above a threshold."""
    return lambda grad: grad.sign() * (grad.abs() > threshold)


def one_floored_step(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * over(lambda norm: norm.clamp_min(1e-6))(gradient(model, x, y, "mean"))).clamp(0, 1)


def from_one_corner(x: Tensor, epsilon: float) -> Tensor:
    return x + (x + epsilon * (2 * torch.rand_like(x) - 1)).clamp(-epsilon, epsilon)


PGD, L2 = {"method": "pgd"}, {"method": "pgd", "norm": "2", "random_start": True}
WRONG: dict[str, tuple[Attack, dict[str, Any], str, str | None]] = {
    "1 first gradient": (first_gradient, PGD, "steps", "iterates-on-first-gradient"),
    "2 ball around the iterate": (ball_around_the_iterate, PGD, "steps", "projects-to-last-iterate"),
    "3 start not added": (start_not_added, {**PGD, "random_start": True}, "randomness", "random-start-unused"),
    "4 start in the box": (projected(unit, project=ball, start=in_box), L2, "randomness", "start-in-wrong-ball"),
    "5 start on the sphere": (projected(unit, project=ball, start=on_sphere), L2, "randomness", "start-on-sphere"),
    "6 step of 0 to 255": (projected(size=lambda _: 2.0), {**PGD, "step_size": "2/255"}, "size", "wrong-step-size"),
    "7 integer division": (projected(size=lambda epsilon: epsilon // 10), {"method": "bim"}, "size", "no-op"),
    "8 one step too few": (projected(size=lambda epsilon: epsilon / 10, steps=9), {"method": "bim"}, "steps", "wrong-step-count"),
    "8 last update lost": (last_update_lost, {"method": "bim"}, "steps", "wrong-step-count"),
    "9 clip before the step": (clips_before_the_step, PGD, "clip", "no-clip"),
    "10 ball around zero": (ball_around_zero, PGD, "steps", "projects-around-zero"),
    "11 climbs the target": (climbs_the_target, PGD, "direction", "targeted-as-untargeted"),
    "12 best of batch": (best_of_batch, PGD, "output", "best-of-batch"),
    "13 stops all": (stops_all, PGD, "conduct", "stops-with-first-image"),
    "14 no L1 norm": (momentum(lambda grad: grad), {"method": "mi-fgsm"}, "steps", "momentum-not-normalised"),
    "15 momentum kept": (momentum(memory={}), {"method": "mi-fgsm"}, "conduct", "momentum-carried-over"),
    "16 sum of signs": (momentum(torch.sign), {"method": "mi-fgsm"}, "steps", "sign-before-momentum"),
    "17 step from the image": (steps_from_the_image, {"method": "fgsm-rs"}, "steps", "step-from-clean-image"),
    "18 two whole budgets": (random_step(1.0, 1.0), {"method": "r+fgsm"}, "size", "wrong-step-size"),
    "19 norm of the batch": (
        projected(lambda grad: grad / grad.norm(), project=ball),
        {"method": "pgd", "norm": "2"},
        "direction",
        "batch-coupled",
    ),
    "20 twice": (twice, PGD, "output", "perturbation-twice"),
    "decay of a half": (momentum(decay=0.5), {"method": "mi-fgsm"}, "steps", "wrong-momentum"),
    "half the ball": (projected(project=lambda delta, epsilon: box(delta, epsilon / 2)), PGD, "steps", "wrong-ball"),
    "descends": (projected(lambda grad: -grad.sign()), PGD, "direction", "wrong-sign"),
    "no sign": (projected(lambda grad: 10 * grad), PGD, "direction", "raw-gradient"),
    "sign in l2": (projected(torch.sign, project=ball), {"method": "pgd", "norm": "2"}, "direction", "wrong-norm"),
    "step of a third": (projected(size=lambda epsilon: epsilon / 3), PGD, "size", "wrong-step-size"),
    "floor in l2": (
        projected(over(lambda norm: norm.clamp_min(1e-6)), project=ball, start=in_ball, reduction="mean"),
        L2,
        "direction",
        "gradient-floor",
    ),
    "constant in l2": (
        projected(over(lambda norm: norm + 1e-4), project=ball, reduction="mean"),
        {"method": "pgd", "norm": "2"},
        "direction",
        "gradient-floor",
    ),
    "floor in one step": (one_floored_step, {"method": "fgm"}, "direction", "gradient-floor"),
    "threshold": (projected(above(1e-6)), PGD, "direction", "gradient-threshold"),
    "faint threshold": (projected(above(1e-11)), PGD, "direction", "gradient-threshold"),
    "start in a corner": (projected(start=from_one_corner), {**PGD, "random_start": True}, "randomness", "start-in-wrong-ball"),
    "rounded share": (projected(size=lambda epsilon: round(epsilon / 4, 2)), PGD, "size", "wrong-step-size"),
}
