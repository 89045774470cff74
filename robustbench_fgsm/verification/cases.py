"""The table of cases that `verify` runs a candidate on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.models.classifier import ChannelStatistic
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.toy_networks import (
    IMAGE_SIZE,
    LOGIT_STD,
    NUM_CLASSES,
    InfiniteGradientAtZero,
    convolutional,
    cropped_convolutional,
    faint_linear,
    in_pixel_space,
    scale_logits,
    two_layer_mlp,
)

JudgingRule = Literal["exact", "saturated", "faint", "not finite"]
"""What counts as right: every pixel, or less if float32 cannot decide it."""

MeanAndStd = tuple[ChannelStatistic | None, ChannelStatistic | None]
BuildNetwork = Callable[[int, int], nn.Sequential]

CASE_EPSILONS = (0.0437, 0.0213, 0.0871)
"""Epsilons that are not multiples of 1/255."""

IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNEVEN_STATISTICS = ((0.5, 0.4, 0.3), (0.5, 0.25, 0.125))
GREY_STATISTICS = (0.2860, 0.3530)
NOT_NORMALISED = (None, None)
IMAGES_PER_CASE = 8


@dataclass(frozen=True)
class Case:
    """Calls of an attack in order; shared_tensor: whether all calls receive one tensor of images."""

    name: str
    about: str
    calls: tuple[AttackCall, ...]
    shared_tensor: bool = False
    rule: JudgingRule = "exact"


def random_images(channels: int, seed: int, *, n: int = IMAGES_PER_CASE, low: float = 0.01, high: float = 0.98) -> Tensor:
    """Return random images (n, channels, side, side) with pixels near the bounds but not at the bounds."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, channels, IMAGE_SIZE, IMAGE_SIZE, generator=generator)


def mixed_labels(model: nn.Module, x: Tensor) -> Tensor:
    """Return labels (N,): the model predicts every second label, and not the others."""
    predicted, places = _predictions(model, x), torch.arange(len(x))
    return torch.where(places % 2 == 0, predicted, (predicted + 1 + places % 3) % NUM_CLASSES)


def build_network(build: BuildNetwork, channels: int, statistics: MeanAndStd, seed: int, logit_std: float = LOGIT_STD) -> nn.Module:
    """Return a network whose logits on images of the case have this standard deviation."""
    mean, std = (torch.as_tensor(0.0 if s is None else s).reshape(-1, 1, 1) for s in statistics)
    std = std if statistics[1] is not None else torch.ones(1, 1, 1)
    body = scale_logits(build(channels, seed), (random_images(channels, seed + 1, n=64) - mean) / std, logit_std)
    return in_pixel_space(body, *statistics)


def link_calls(calls: Iterable[AttackCall]) -> tuple[AttackCall, ...]:
    """Return the calls, each with the calls before it."""
    linked: list[AttackCall] = []
    for call in calls:
        linked.append(replace(call, earlier_calls=tuple(linked)))
    return tuple(linked)


def link_calls_across_cases(cases: Sequence[Case]) -> list[Case]:
    """Return the cases, each call with the calls of the cases before it too, because a candidate may remember them."""
    calls = iter(link_calls(call for case in cases for call in case.calls))
    return [replace(case, calls=tuple(islice(calls, len(case.calls)))) for case in cases]


def standard_calls(model: nn.Module, other_model: nn.Module, x: Tensor) -> tuple[AttackCall, ...]:
    """Return a call; other labels at another epsilon; the first call again; and its images on another network."""
    y = mixed_labels(model, x)
    first = AttackCall(model, x, y, CASE_EPSILONS[0], seed=1)
    other_labels = (y + 1 + torch.arange(len(y)) % 2) % NUM_CLASSES
    second = AttackCall(model, x, other_labels, CASE_EPSILONS[1], seed=2)
    return link_calls([first, second, replace(first, seed=3), replace(first, model=other_model, seed=4)])


def standard_case(about: str, build: BuildNetwork, channels: int, statistics: MeanAndStd, seed: int, *, name: str) -> Case:
    """Return a case of four calls on images of one kind."""
    model, other = (build_network(build, channels, statistics, seed + k) for k in (0, 50))
    return Case(name, about, standard_calls(model, other, random_images(channels, seed)))


def _predictions(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        predicted: Tensor = model(x).argmax(1)
    return predicted


def _colour_call(seed: int, n: int = IMAGES_PER_CASE) -> AttackCall:
    model, x = build_network(convolutional, 3, UNEVEN_STATISTICS, 300), random_images(3, seed, n=n)
    return AttackCall(model, x, mixed_labels(model, x), CASE_EPSILONS[0], seed=1)


def _bounds_case(name: str) -> Case:
    model, other = (build_network(convolutional, 3, IMAGENET_STATISTICS, seed) for seed in (600, 650))
    x = random_images(3, 600, low=-0.2, high=1.2).clamp(0, 1)
    return Case(name, "images with pixels at 0 and 1", standard_calls(model, other, x))


def _saturated_case(name: str) -> Case:
    models = [build_network(convolutional, 1, (0.5, 0.5), seed, logit_std=25.0) for seed in (800, 850)]
    x = random_images(1, 800)
    calls = link_calls(AttackCall(model, x, _predictions(model, x), CASE_EPSILONS[0], seed=1) for model in models)
    return Case(name, "a network so confident that float32 cross-entropy cancels", calls, rule="saturated")


def _faint_case(name: str) -> Case:
    model, x = in_pixel_space(faint_linear(1, 900), None, None), random_images(1, 900, n=16)
    call = AttackCall(model, x, torch.arange(16) % NUM_CLASSES, CASE_EPSILONS[0], seed=1)
    return Case(name, "gradients near the smallest number of float32", (call,), rule="faint")


def _rows(call: AttackCall, rows: Sequence[slice]) -> tuple[AttackCall, ...]:
    """Return a call for each slice of the images, seeded 0, 1, and so on."""
    return link_calls(replace(call, x=call.x[part], y=call.y[part], seed=k) for k, part in enumerate(rows))


def _batch_of_one_case(name: str) -> Case:
    return Case(name, "one image at a time", _rows(_colour_call(1000, 3), [slice(k, k + 1) for k in range(3)]))


def _split_case(name: str) -> Case:
    rows = (slice(0, 7), slice(0, 3), slice(3, 7))
    return Case(name, "the same images in one batch and in two", _rows(_colour_call(1100, 7), rows))


def _repeated_case(name: str) -> Case:
    call = _colour_call(1200)
    calls = (call, replace(call, seed=2), replace(call, y=(call.y + 1) % NUM_CLASSES, seed=3))
    return Case(name, "the same call twice, then other labels", link_calls(calls))


def _sweep_case(name: str) -> Case:
    call = _colour_call(1300)
    calls = (replace(call, epsilon=epsilon, seed=k) for k, epsilon in enumerate(CASE_EPSILONS))
    return Case(name, "several epsilons in a row on one tensor", link_calls(calls), shared_tensor=True)


def _wrong_before_case(name: str) -> Case:
    call = _colour_call(1400)
    y = (_predictions(call.model, call.x) + 1 + torch.arange(IMAGES_PER_CASE) % 3) % NUM_CLASSES
    return Case(name, "labels that the network does not predict", (replace(call, y=y),))


def _targeted_case(name: str) -> Case:
    call = replace(_colour_call(1500), targeted=True)
    return Case(name, "labels that are targets", link_calls([call, replace(call, y=(call.y + 1) % 4, seed=2)]))


def _not_finite_case(name: str) -> Case:
    model, x = in_pixel_space(InfiniteGradientAtZero(two_layer_mlp(1, 1600)), None, None), random_images(1, 1600)
    x[3] = 0.0
    call = AttackCall(model, x, torch.arange(IMAGES_PER_CASE) % NUM_CLASSES, CASE_EPSILONS[0], seed=1)
    return Case(name, "an image whose gradient is not finite", (call,), rule="not finite")


_batch_norm = partial(convolutional, batch_norm=True)
_dropout = partial(convolutional, dropout=0.4)

_BUILDERS: dict[str, Callable[..., Case]] = {
    "grey": partial(standard_case, "grey images, not normalised", two_layer_mlp, 1, NOT_NORMALISED, 100),
    "grey-normalised": partial(standard_case, "grey images, normalised", convolutional, 1, GREY_STATISTICS, 150),
    "colour": partial(standard_case, "colour images, normalised", convolutional, 3, IMAGENET_STATISTICS, 200),
    "colour-uneven": partial(standard_case, "another std in each channel", convolutional, 3, UNEVEN_STATISTICS, 250),
    "batch-norm": partial(standard_case, "a network with batch norm", _batch_norm, 3, IMAGENET_STATISTICS, 400),
    "dropout": partial(standard_case, "a network with dropout", _dropout, 3, UNEVEN_STATISTICS, 500),
    "bounds": _bounds_case,
    "zero-gradient": partial(
        standard_case, "a border that the network does not see", cropped_convolutional, 3, UNEVEN_STATISTICS, 700
    ),
    "saturated": _saturated_case,
    "faint": _faint_case,
    "batch-of-one": _batch_of_one_case,
    "split": _split_case,
    "repeated": _repeated_case,
    "sweep": _sweep_case,
    "wrong-before": _wrong_before_case,
    "targeted": _targeted_case,
    "not-finite": _not_finite_case,
}

CASES: dict[str, Callable[[], Case]] = {name: partial(build, name=name) for name, build in _BUILDERS.items()}
"""Functions that make each case, by its name."""


def check_case_names(names: Iterable[str]) -> list[str]:
    """Return the names without repetition, or all names for none; raise SettingError for an unknown name."""
    found = list(dict.fromkeys(names)) or list(CASES)
    for name in found:
        if name not in CASES:
            raise SettingError(f"case must be one of {', '.join(CASES)}, got {name!r}: {did_you_mean(name, CASES)}")
    return found
