"""The table of cases that an implementation is put through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.models.classifier import ChannelStatistic
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification import toy_networks

JudgingRule = Literal["exact", "saturated", "faint", "not finite"]

CASE_EPSILONS = (0.0437, 0.0213, 0.0871)
"""Off the grid of 8-bit pixels."""

IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNEVEN_STATISTICS = ((0.5, 0.4, 0.3), (0.5, 0.25, 0.125))
GREY_STATISTICS = (0.2860, 0.3530)
NOT_NORMALISED = (None, None)
IMAGES_PER_CASE = 8


@dataclass(frozen=True)
class Case:
    """scenes: calls in their order. shared: all calls get one and the same tensor of images. rule: what counts as right."""

    name: str
    about: str
    calls: tuple[AttackCall, ...]
    shared_tensor: bool = False
    rule: JudgingRule = "exact"


MeanAndStd = tuple[ChannelStatistic | None, ChannelStatistic | None]
BuildNetwork = Callable[[int, int], nn.Sequential]


def random_images(channels: int, seed: int, *, n: int = IMAGES_PER_CASE, low: float = 0.01, high: float = 0.98) -> Tensor:
    """Random images (n, channels, side, side) that come near the bounds and do not reach them."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(n, channels, toy_networks.IMAGE_SIZE, toy_networks.IMAGE_SIZE, generator=generator)
    return low + (high - low) * drawn


def mixed_labels(model: nn.Module, x: Tensor) -> Tensor:
    """Labels (N,): every other one is what the model predicts, the rest are not."""
    with torch.no_grad():
        predicted = model(x).argmax(1)
    places = torch.arange(len(x))
    return torch.where(places % 2 == 0, predicted, (predicted + 1 + places % 3) % toy_networks.NUM_CLASSES)


def build_network(
    build: BuildNetwork, channels: int, statistics: MeanAndStd, seed: int, logit_std: float = toy_networks.LOGIT_STD
) -> nn.Module:
    """A network of the case, and its logits spread over images like those of the case."""
    mean, std = (torch.as_tensor(0.0 if s is None else s).reshape(-1, 1, 1) for s in statistics)
    std = std if statistics[1] is not None else torch.ones(1, 1, 1)
    body = toy_networks.scale_logits(build(channels, seed), (random_images(channels, seed + 1, n=64) - mean) / std, logit_std)
    return toy_networks.in_pixel_space(body, *statistics)


def standard_calls(model: nn.Module, other_model: nn.Module, x: Tensor) -> tuple[AttackCall, ...]:
    """One call; other labels at another budget; the first again; and the same images of another network."""
    y = mixed_labels(model, x)
    elsewhere = (y + 1 + torch.arange(len(y)) % 2) % toy_networks.NUM_CLASSES
    first = AttackCall(model, x, y, CASE_EPSILONS[0], seed=1)
    return link_calls(
        [
            first,
            AttackCall(model, x, elsewhere, CASE_EPSILONS[1], seed=2),
            replace(first, seed=3),
            replace(first, model=other_model, seed=4),
        ]
    )


def link_calls(calls: Iterable[AttackCall]) -> tuple[AttackCall, ...]:
    """The same calls, each of which knows those before it."""
    done: list[AttackCall] = []
    for scene in calls:
        done.append(replace(scene, earlier_calls=tuple(done)))
    return tuple(done)


def link_calls_across_cases(cases: Sequence[Case]) -> list[Case]:
    """The same cases, each call of which knows those of the cases before it too: so long may a candidate remember."""
    scenes = iter(link_calls(replace(scene, earlier_calls=()) for case in cases for scene in case.calls))
    return [replace(case, calls=tuple(islice(scenes, len(case.calls)))) for case in cases]


def standard_case(name: str, about: str, build: BuildNetwork, channels: int, statistics: MeanAndStd, seed: int) -> Case:
    """Four calls on images of one kind."""
    model, other = (build_network(build, channels, statistics, seed + k) for k in (0, 50))
    return Case(name, about, standard_calls(model, other, random_images(channels, seed)))


def _colour_network() -> nn.Module:
    return build_network(toy_networks.convolutional, 3, UNEVEN_STATISTICS, 300)


def _bounds_case() -> Case:
    model, other = (build_network(toy_networks.convolutional, 3, IMAGENET_STATISTICS, seed) for seed in (600, 650))
    x = random_images(3, 600, low=-0.2, high=1.2).clamp(0, 1)
    return Case("bounds", "images with pixels at 0 and 1", standard_calls(model, other, x))


def _saturated_case() -> Case:
    model, other = (build_network(toy_networks.convolutional, 1, (0.5, 0.5), seed, logit_std=25.0) for seed in (800, 850))
    x = random_images(1, 800)
    with torch.no_grad():
        y = model(x).argmax(1)
    scene = AttackCall(model, x, y, CASE_EPSILONS[0], seed=1)
    scenes = link_calls([scene, replace(scene, model=other, y=other(x).argmax(1).detach())])
    return Case("saturated", "a network so sure that float32 cross-entropy cancels", scenes, rule="saturated")


def _faint_case() -> Case:
    model = toy_networks.in_pixel_space(toy_networks.faint_linear(1, 900), None, None)
    x = random_images(1, 900, n=16)
    scene = AttackCall(model, x, torch.arange(16) % toy_networks.NUM_CLASSES, CASE_EPSILONS[0], seed=1)
    return Case("faint", "gradients near the smallest number of float32", (scene,), rule="faint")


def _batch_of_one_case() -> Case:
    model, x = _colour_network(), random_images(3, 1000, n=3)
    y = mixed_labels(model, x)
    scenes = (AttackCall(model, x[k : k + 1], y[k : k + 1], CASE_EPSILONS[0], seed=k) for k in range(3))
    return Case("batch-of-one", "one image at a time", link_calls(scenes))


def _split_case() -> Case:
    model, x = _colour_network(), random_images(3, 1100, n=7)
    y = mixed_labels(model, x)
    rows = (slice(0, 7), slice(0, 3), slice(3, 7))
    scenes = (AttackCall(model, x[part], y[part], CASE_EPSILONS[0], seed=k) for k, part in enumerate(rows))
    return Case("split", "the same images in one batch and in two", link_calls(scenes))


def _repeated_case() -> Case:
    model, x = _colour_network(), random_images(3, 1200)
    y = mixed_labels(model, x)
    scene = AttackCall(model, x, y, CASE_EPSILONS[0], seed=1)
    scenes = (scene, replace(scene, seed=2), replace(scene, y=(y + 1) % toy_networks.NUM_CLASSES, seed=3))
    return Case("repeated", "the same call twice, then other labels", link_calls(scenes))


def _sweep_case() -> Case:
    model, x = _colour_network(), random_images(3, 1300)
    y = mixed_labels(model, x)
    scenes = (AttackCall(model, x, y, epsilon, seed=k) for k, epsilon in enumerate(CASE_EPSILONS))
    return Case("sweep", "several epsilons in a row on one tensor", link_calls(scenes), shared_tensor=True)


def _wrong_before_case() -> Case:
    model, x = _colour_network(), random_images(3, 1400)
    with torch.no_grad():
        y = (model(x).argmax(1) + 1 + torch.arange(IMAGES_PER_CASE) % 3) % toy_networks.NUM_CLASSES
    return Case("wrong-before", "labels that the network does not predict", (AttackCall(model, x, y, CASE_EPSILONS[0], seed=1),))


def _targeted_case() -> Case:
    model, x = _colour_network(), random_images(3, 1500)
    y = mixed_labels(model, x)
    first = AttackCall(model, x, y, CASE_EPSILONS[0], targeted=True, seed=1)
    return Case("targeted", "labels that are targets", link_calls([first, replace(first, y=(y + 1) % 4, seed=2)]))


def _not_finite_case() -> Case:
    body = toy_networks.InfiniteGradientAtZero(toy_networks.two_layer_mlp(1, 1600))
    model, x = toy_networks.in_pixel_space(body, None, None), random_images(1, 1600)
    x[3] = 0.0
    scene = AttackCall(model, x, torch.arange(IMAGES_PER_CASE) % toy_networks.NUM_CLASSES, CASE_EPSILONS[0], seed=1)
    return Case("not-finite", "an image whose gradient is not finite", (scene,), rule="not finite")


def _batch_norm_network(channels: int, seed: int) -> nn.Sequential:
    return toy_networks.convolutional(channels, seed, batch_norm=True)


def _dropout_network(channels: int, seed: int) -> nn.Sequential:
    return toy_networks.convolutional(channels, seed, dropout=0.4)


CASES: dict[str, Callable[[], Case]] = {
    "grey": lambda: standard_case("grey", "grey images, not normalised", toy_networks.two_layer_mlp, 1, NOT_NORMALISED, 100),
    "grey-normalised": lambda: standard_case(
        "grey-normalised", "grey images, normalised", toy_networks.convolutional, 1, GREY_STATISTICS, 150
    ),
    "colour": lambda: standard_case("colour", "colour images, normalised", toy_networks.convolutional, 3, IMAGENET_STATISTICS, 200),
    "colour-uneven": lambda: standard_case(
        "colour-uneven", "another std in each channel", toy_networks.convolutional, 3, UNEVEN_STATISTICS, 250
    ),
    "batch-norm": lambda: standard_case(
        "batch-norm", "a network with batch norm", _batch_norm_network, 3, IMAGENET_STATISTICS, 400
    ),
    "dropout": lambda: standard_case("dropout", "a network with dropout", _dropout_network, 3, UNEVEN_STATISTICS, 500),
    "bounds": _bounds_case,
    "zero-gradient": lambda: standard_case(
        "zero-gradient", "a border that the network does not see", toy_networks.cropped_convolutional, 3, UNEVEN_STATISTICS, 700
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
"""By name, each made anew when it is asked for."""


def check_case_names(names: Iterable[str]) -> list[str]:
    """The names without repetition, all of them where none is given; raises SettingError for one that is unknown."""
    found = list(dict.fromkeys(names)) or list(CASES)
    for name in found:
        if name not in CASES:
            raise SettingError(f"case must be one of {', '.join(CASES)}, got {name!r}: {did_you_mean(name, CASES)}")
    return found
