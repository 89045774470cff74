"""The table of cases that an implementation is put through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.models.classifier import Statistic
from robustbench_fgsm.variants.attack_call import Scene
from robustbench_fgsm.verification import toy_networks

Rule = Literal["exact", "saturated", "faint", "not finite"]

EPSILONS = (0.0437, 0.0213, 0.0871)
"""Off the grid of 8-bit pixels."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNEVEN = ((0.5, 0.4, 0.3), (0.5, 0.25, 0.125))
GREY = (0.2860, 0.3530)
NOT_NORMALISED = (None, None)
N = 8


@dataclass(frozen=True)
class Case:
    """scenes: calls in their order. shared: all calls get one and the same tensor of images. rule: what counts as right."""

    name: str
    about: str
    scenes: tuple[Scene, ...]
    shared: bool = False
    rule: Rule = "exact"


Statistics = tuple[Statistic | None, Statistic | None]
Build = Callable[[int, int], nn.Sequential]


def images(channels: int, seed: int, *, n: int = N, low: float = 0.01, high: float = 0.98) -> Tensor:
    """Random images (n, channels, side, side) that come near the bounds and do not reach them."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(n, channels, toy_networks.SIDE, toy_networks.SIDE, generator=generator)
    return low + (high - low) * drawn


def mixed_labels(model: nn.Module, x: Tensor) -> Tensor:
    """Labels (N,): every other one is what the model predicts, the rest are not."""
    with torch.no_grad():
        predicted = model(x).argmax(1)
    places = torch.arange(len(x))
    return torch.where(places % 2 == 0, predicted, (predicted + 1 + places % 3) % toy_networks.CLASSES)


def built(
    build: Build, channels: int, statistics: Statistics, seed: int, gap: float = toy_networks.SPREAD
) -> nn.Module:
    """A network of the case, and its logits spread over images like those of the case."""
    mean, std = (torch.as_tensor(0.0 if s is None else s).reshape(-1, 1, 1) for s in statistics)
    std = std if statistics[1] is not None else torch.ones(1, 1, 1)
    body = toy_networks.spread(build(channels, seed), (images(channels, seed + 1, n=64) - mean) / std, gap)
    return toy_networks.in_pixel_space(body, *statistics)


def calls(model: nn.Module, other: nn.Module, x: Tensor) -> tuple[Scene, ...]:
    """One call; other labels at another budget; the first again; and the same images of another network."""
    y = mixed_labels(model, x)
    elsewhere = (y + 1 + torch.arange(len(y)) % 2) % toy_networks.CLASSES
    first = Scene(model, x, y, EPSILONS[0], seed=1)
    return in_order(
        [
            first,
            Scene(model, x, elsewhere, EPSILONS[1], seed=2),
            replace(first, seed=3),
            replace(first, model=other, seed=4),
        ]
    )


def in_order(scenes: Iterable[Scene]) -> tuple[Scene, ...]:
    """The same calls, each of which knows those before it."""
    done: list[Scene] = []
    for scene in scenes:
        done.append(replace(scene, before=tuple(done)))
    return tuple(done)


def one_after_another(cases: Sequence[Case]) -> list[Case]:
    """The same cases, each call of which knows those of the cases before it too: so long may a candidate remember."""
    scenes = iter(in_order(replace(scene, before=()) for case in cases for scene in case.scenes))
    return [replace(case, scenes=tuple(islice(scenes, len(case.scenes)))) for case in cases]


def standard(name: str, about: str, build: Build, channels: int, statistics: Statistics, seed: int) -> Case:
    """Four calls on images of one kind."""
    model, other = (built(build, channels, statistics, seed + k) for k in (0, 50))
    return Case(name, about, calls(model, other, images(channels, seed)))


def _colour() -> nn.Module:
    return built(toy_networks.convolutional, 3, UNEVEN, 300)


def _bounds() -> Case:
    model, other = (built(toy_networks.convolutional, 3, IMAGENET, seed) for seed in (600, 650))
    x = images(3, 600, low=-0.2, high=1.2).clamp(0, 1)
    return Case("bounds", "images with pixels at 0 and 1", calls(model, other, x))


def _saturated() -> Case:
    model, other = (built(toy_networks.convolutional, 1, (0.5, 0.5), seed, gap=25.0) for seed in (800, 850))
    x = images(1, 800)
    with torch.no_grad():
        y = model(x).argmax(1)
    scene = Scene(model, x, y, EPSILONS[0], seed=1)
    scenes = in_order([scene, replace(scene, model=other, y=other(x).argmax(1).detach())])
    return Case("saturated", "a network so sure that float32 cross-entropy cancels", scenes, rule="saturated")


def _faint() -> Case:
    model = toy_networks.in_pixel_space(toy_networks.faint(1, 900), None, None)
    x = images(1, 900, n=16)
    scene = Scene(model, x, torch.arange(16) % toy_networks.CLASSES, EPSILONS[0], seed=1)
    return Case("faint", "gradients near the smallest number of float32", (scene,), rule="faint")


def _batch_of_one() -> Case:
    model, x = _colour(), images(3, 1000, n=3)
    y = mixed_labels(model, x)
    scenes = (Scene(model, x[k : k + 1], y[k : k + 1], EPSILONS[0], seed=k) for k in range(3))
    return Case("batch-of-one", "one image at a time", in_order(scenes))


def _split() -> Case:
    model, x = _colour(), images(3, 1100, n=7)
    y = mixed_labels(model, x)
    rows = (slice(0, 7), slice(0, 3), slice(3, 7))
    scenes = (Scene(model, x[part], y[part], EPSILONS[0], seed=k) for k, part in enumerate(rows))
    return Case("split", "the same images in one batch and in two", in_order(scenes))


def _repeated() -> Case:
    model, x = _colour(), images(3, 1200)
    y = mixed_labels(model, x)
    scene = Scene(model, x, y, EPSILONS[0], seed=1)
    scenes = (scene, replace(scene, seed=2), replace(scene, y=(y + 1) % toy_networks.CLASSES, seed=3))
    return Case("repeated", "the same call twice, then other labels", in_order(scenes))


def _sweep() -> Case:
    model, x = _colour(), images(3, 1300)
    y = mixed_labels(model, x)
    scenes = (Scene(model, x, y, epsilon, seed=k) for k, epsilon in enumerate(EPSILONS))
    return Case("sweep", "several epsilons in a row on one tensor", in_order(scenes), shared=True)


def _wrong_before() -> Case:
    model, x = _colour(), images(3, 1400)
    with torch.no_grad():
        y = (model(x).argmax(1) + 1 + torch.arange(N) % 3) % toy_networks.CLASSES
    return Case("wrong-before", "labels that the network does not predict", (Scene(model, x, y, EPSILONS[0], seed=1),))


def _targeted() -> Case:
    model, x = _colour(), images(3, 1500)
    y = mixed_labels(model, x)
    first = Scene(model, x, y, EPSILONS[0], targeted=True, seed=1)
    return Case("targeted", "labels that are targets", in_order([first, replace(first, y=(y + 1) % 4, seed=2)]))


def _not_finite() -> Case:
    body = toy_networks.RootOfSum(toy_networks.linear(1, 1600))
    model, x = toy_networks.in_pixel_space(body, None, None), images(1, 1600)
    x[3] = 0.0
    scene = Scene(model, x, torch.arange(N) % toy_networks.CLASSES, EPSILONS[0], seed=1)
    return Case("not-finite", "an image whose gradient is not finite", (scene,), rule="not finite")


def _batch_norm(channels: int, seed: int) -> nn.Sequential:
    return toy_networks.convolutional(channels, seed, batch_norm=True)


def _dropout(channels: int, seed: int) -> nn.Sequential:
    return toy_networks.convolutional(channels, seed, dropout=0.4)


CASES: dict[str, Callable[[], Case]] = {
    "grey": lambda: standard("grey", "grey images, not normalised", toy_networks.linear, 1, NOT_NORMALISED, 100),
    "grey-normalised": lambda: standard(
        "grey-normalised", "grey images, normalised", toy_networks.convolutional, 1, GREY, 150
    ),
    "colour": lambda: standard("colour", "colour images, normalised", toy_networks.convolutional, 3, IMAGENET, 200),
    "colour-uneven": lambda: standard(
        "colour-uneven", "another std in each channel", toy_networks.convolutional, 3, UNEVEN, 250
    ),
    "batch-norm": lambda: standard("batch-norm", "a network with batch norm", _batch_norm, 3, IMAGENET, 400),
    "dropout": lambda: standard("dropout", "a network with dropout", _dropout, 3, UNEVEN, 500),
    "bounds": _bounds,
    "zero-gradient": lambda: standard(
        "zero-gradient", "a border that the network does not see", toy_networks.cropped, 3, UNEVEN, 700
    ),
    "saturated": _saturated,
    "faint": _faint,
    "batch-of-one": _batch_of_one,
    "split": _split,
    "repeated": _repeated,
    "sweep": _sweep,
    "wrong-before": _wrong_before,
    "targeted": _targeted,
    "not-finite": _not_finite,
}
"""By name, each made anew when it is asked for."""


def check_cases(names: Iterable[str]) -> list[str]:
    """The names without repetition, all of them where none is given; raises SettingError for one that is unknown."""
    found = list(dict.fromkeys(names)) or list(CASES)
    for name in found:
        if name not in CASES:
            raise SettingError(f"case must be one of {', '.join(CASES)}, got {name!r}: {did_you_mean(name, CASES)}")
    return found
