"""The test bench: calls of a candidate, each made for one measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.methods import FGSM, Method
from robustbench_fgsm.verification.networks import (
    ConstantOnDarkImages,
    FixedGradientNetwork,
    InfiniteGradientAtZero,
    LinearLayer,
    Shape,
    SmallTransformer,
    build_seeded,
    convolutional,
    fixed_gradient,
    in_pixel_space,
    random_linear,
)

JudgingRule = Literal["exact", "known", "faint", "saturated", "not finite"]
"""Which pixels count: those whose sign float32 decides, all, all but tiny gradients, any full step, or finite gradients."""

EPSILON = 0.0437
"""A budget that is no multiple of 1/255."""

STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNEVEN_STATISTICS = ((0.5, 0.4, 0.3), (0.5, 0.25, 0.125))
UNSEEN_COLUMNS = 4
"""Columns on the right of the images that the networks with known gradients do not see.

The last of them are at 0 and 1, so that bounds that are read off the images are those of the pixels.
"""

STILL_COLUMNS = slice(-4, -2)
"""The unseen columns that are at no bound."""

ZERO_GRADIENT = "zero gradient"
"""Call in which some images have a gradient of exactly 0."""

SMALL_BATCH = 16
LARGE_BATCH = 200
TURNING_STEPS = 40
"""Distances at which the gradient turns, evenly spaced between 0 and epsilon."""


@dataclass(frozen=True, eq=False)
class BenchCall:
    """One call of the test bench.

    Attributes:
        name: what it measures.
        call: its arguments.
        rule: which pixels count.
        tensor_of: name of an earlier call whose tensor of images is passed again; empty for a new tensor.
        method: the attack that a right candidate runs.
    """

    name: str
    call: AttackCall
    rule: JudgingRule = "exact"
    tensor_of: str = ""
    method: Method = FGSM

    __repr__ = short_repr


@dataclass(frozen=True)
class BenchSettings:
    """What a candidate was written for.

    Attributes:
        shape: (C, H, W) of the images.
        num_classes: number of classes K, >= 2.
        one_image: the candidate takes one image at a time.
        own_shape: the user chose the shape, so no other shape is tried; own_classes: the same for the number of classes.
    """

    shape: Shape = (3, 32, 32)
    num_classes: int = 10
    one_image: bool = False
    own_shape: bool = False
    own_classes: bool = False

    @classmethod
    def parse(cls, shape: str, classes: int | None, *, one_image: bool) -> BenchSettings:
        """Parse `1x28x28` and a number of classes; empty and None for the defaults.

        Raises:
            SettingError: if the shape is not three integers of which the sides are at least 16, or classes are below 2.
        """
        sizes = [int(part) if part.isdecimal() else 0 for part in shape.lower().split("x")] if shape else [3, 32, 32]
        if len(sizes) != 3 or sizes[0] < 1 or min(sizes[1:]) < 16:
            raise SettingError(f"image shape must be CxHxW with sides of 16 pixels or more, such as 1x28x28, got {shape!r}")
        if classes is not None and classes < 2:
            raise SettingError(f"classes must be an integer >= 2, got {classes}: pass the number of logits")
        return cls((sizes[0], sizes[1], sizes[2]), classes or 10, one_image, bool(shape), classes is not None)


def build_calls(settings: BenchSettings, *, targeted: bool) -> list[BenchCall]:
    """Return the calls in order; targeted calls only for a candidate that offers them."""
    calls = [*_row_calls(settings), *_fixed_gradient_calls(settings), *_conduct_calls(settings)]
    calls += [*_other_shapes(settings), *_realistic_calls(settings), *_difficult_calls(settings)]
    if targeted:
        calls += _targeted_calls(settings)
    return calls


def first_call(settings: BenchSettings) -> BenchCall:
    """Return the first call alone."""
    return next(_row_calls(settings))


def random_images(shape: Shape, n: int, seed: int, low: float = 0.3, high: float = 0.7) -> Tensor:
    """Return random images (n, C, H, W) with pixels between low and high."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, *shape, generator=generator)


def bounded_images(shape: Shape, n: int, seed: int, low: float = 0.3, high: float = 0.7) -> Tensor:
    """Return random images whose unseen columns reach the bounds."""
    return _reach_bounds(random_images(shape, n, seed, low, high))


def _reach_bounds(images: Tensor) -> Tensor:
    images[..., -2], images[..., -1] = 1.0, 0.0
    return images


def mixed_labels(network: nn.Module, x: Tensor, num_classes: int) -> Tensor:
    """Return labels (N,): every second is the prediction, and the others are not."""
    with torch.no_grad():
        predicted: Tensor = network(x).argmax(1)
    places = torch.arange(len(x))
    return torch.where(places % 2 == 0, predicted, (predicted + 1 + places % max(1, num_classes - 1)) % num_classes)


def _statistics(
    shape: Shape, statistics: tuple[tuple[float, ...], tuple[float, ...]] = STATISTICS
) -> tuple[list[float], list[float]]:
    """Return mean and std with one value per channel."""
    mean, std = ([values[k % len(values)] for k in range(shape[0])] for values in statistics)
    return mean, std


def linear_network(settings: BenchSettings, seed: int, shape: Shape | None = None, num_classes: int = 0) -> nn.Module:
    """Return a linear network with random rows, whose logits at grey images are those of a fixed bias."""
    shape = shape or settings.shape
    layer = random_linear(shape, num_classes or settings.num_classes, seed, unseen_columns=UNSEEN_COLUMNS)
    network = in_pixel_space(layer, *_statistics(shape))
    with torch.no_grad():
        layer.bias.add_(0.5 * torch.cos(1.7 * torch.arange(len(layer.bias))) - network(torch.full((1, *shape), 0.5))[0])
    return network


def _row_calls(settings: BenchSettings) -> Iterator[BenchCall]:
    """Yield calls on linear networks with random rows, which tell loss and labels; repeated, they tell randomness and state."""
    network, x = linear_network(settings, 1), bounded_images(settings.shape, SMALL_BATCH, 1)
    first = AttackCall(network, x, mixed_labels(network, x, settings.num_classes), EPSILON, seed=1)
    other = AttackCall(
        network, bounded_images(settings.shape, SMALL_BATCH, 2), (first.y + 1) % settings.num_classes, 0.0213, seed=2
    )
    yield BenchCall("rows", first)
    yield BenchCall("rows, other images", other)
    yield BenchCall("rows, repeated", first)
    yield BenchCall("rows, repeated at once", first)
    yield BenchCall("rows, other seed", replace(first, seed=3))
    yield BenchCall("rows, third seed", replace(first, seed=29))
    half = SMALL_BATCH // 2
    x_changed, y_changed = torch.cat([x[:half], other.x[half:]]), torch.cat([first.y[:half], other.y[half:]])
    yield BenchCall("rows, other neighbours", replace(first, x=x_changed, y=y_changed))
    yield BenchCall("rows, one image", replace(first, x=x[1:2], y=first.y[1:2]))
    other_network = linear_network(settings, 5)
    yield BenchCall("other network", replace(first, model=other_network, y=mixed_labels(other_network, x, settings.num_classes)))


def _fixed_network(settings: BenchSettings, magnitudes: Tensor, *, normalised: bool, turns: Tensor | None = None) -> nn.Module:
    """Return a network whose gradient has these magnitudes and random signs, in the unit of the pixels."""
    signs = _gradient_signs(settings.shape)
    mean, std = _statistics(settings.shape) if normalised else (None, None)
    return in_pixel_space(fixed_gradient(magnitudes * signs, settings.num_classes, turns), mean, std)


def _gradient_signs(shape: Shape) -> Tensor:
    """Return the signs (C, H, W) of all fixed gradients."""
    return torch.where(torch.rand(shape, generator=torch.Generator().manual_seed(7)) < 0.5, -1.0, 1.0)


def _fixed_gradient_calls(settings: BenchSettings) -> Iterator[BenchCall]:
    """Yield calls on networks whose gradient is known up to a factor whatever the loss: direction, size, clip, output, steps."""
    shape, n = settings.shape, SMALL_BATCH // 2
    y = torch.arange(n) % settings.num_classes
    grey = _reach_bounds(torch.full((n, *shape), 0.5))
    share = _spread(shape)
    for name, (low, high), rule in (("magnitudes", (-12, 0), "known"), ("tiny", (-44, -12), "faint"), ("huge", (0, 30), "known")):
        magnitudes = 10.0 ** (low + (high - low) * share.double())
        magnitudes[..., -UNSEEN_COLUMNS:] = 0.0
        times = 4 if name == "tiny" else 1  # in a batch of 40 a mean lets the smallest gradients underflow
        network = _fixed_network(settings, magnitudes.float(), normalised=False)
        call = AttackCall(network, grey.repeat(times, 1, 1, 1), y.repeat(times), EPSILON, seed=4)
        yield BenchCall(name, call, rule)  # type: ignore[arg-type]
    ones = torch.ones(shape)
    ones[..., -UNSEEN_COLUMNS:] = 0.0
    flat = _fixed_network(settings, ones, normalised=True)
    middle = AttackCall(flat, bounded_images(shape, n, 8, 0.47, 0.53), y, EPSILON, seed=5)
    yield BenchCall("size", middle, "known")
    for name, epsilon in (("size, small", 0.0101), ("size, large", 0.17), ("size, larger", 0.44)):
        yield BenchCall(name, replace(middle, epsilon=epsilon), "known")
    yield BenchCall("size, tiny", replace(middle, epsilon=1e-6, x=bounded_images(shape, n, 9, 0.2, 0.8)), "known")
    yield BenchCall("size, whole range", replace(middle, epsilon=1.0, x=_opposite_corners(shape, n)), "known")
    yield BenchCall("levels", replace(middle, epsilon=0.3, x=_ramp(shape, n, 0.0, 1.0)), "known")
    narrow = _ramp(shape, n, 0.35, 0.65)
    narrow[0] = 0.5 + (narrow[0] - 0.5) / 3
    yield BenchCall("levels, narrow", replace(middle, epsilon=0.12, x=narrow), "known")
    turns = EPSILON * (torch.floor(share * TURNING_STEPS) + 0.5) / TURNING_STEPS
    turning = _fixed_network(settings, ones, normalised=False, turns=turns)
    yield BenchCall("turns", replace(middle, model=turning, x=grey), "known")


def _spread(shape: Shape) -> Tensor:
    """Return numbers evenly spaced in [0, 1), in a random order that all channels share."""
    _, height, width = shape
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(6))
    return (order / (height * width)).view(1, height, width).expand(shape)


def _ramp(shape: Shape, n: int, low: float, high: float) -> Tensor:
    """Return images (n, C, H, W) whose channels hold all levels between low and high, both included."""
    share = _spread(shape)
    images = low + (high - low) * (share / share.max())
    return torch.stack([images.roll(k, -1) for k in range(n)])


def _opposite_corners(shape: Shape, n: int) -> Tensor:
    """Return images of zeros and ones, so that a step of 1 along a fixed gradient stays inside in two of four."""
    corners = (_gradient_signs(shape) < 0).float()
    return torch.stack([corners if k % 4 < 2 else 1 - corners for k in range(n)])


def _conduct_calls(settings: BenchSettings) -> Iterator[BenchCall]:
    """Yield calls with one tensor used twice, and with a large batch."""
    network, x = linear_network(settings, 11), bounded_images(settings.shape, SMALL_BATCH, 11)
    y = mixed_labels(network, x, settings.num_classes)
    call = AttackCall(network, x, y, EPSILON, seed=6)
    yield BenchCall("one tensor", call)
    yield BenchCall("one tensor, other budget", replace(call, epsilon=0.0213), tensor_of="one tensor")
    yield BenchCall("one tensor, other labels", replace(call, y=(y + 1) % settings.num_classes), tensor_of="one tensor")
    many = bounded_images(settings.shape, LARGE_BATCH, 12)
    yield BenchCall("large batch", replace(call, x=many, y=mixed_labels(network, many, settings.num_classes)))
    yield BenchCall("odd batch", replace(call, x=many[:17], y=mixed_labels(network, many[:17], settings.num_classes)))


def _other_shapes(settings: BenchSettings) -> Iterator[BenchCall]:
    """Yield calls with other numbers of classes, and with images of other shapes."""
    for name, shape, classes, n in (
        ("2 classes", settings.shape, 2, 8),
        ("1000 classes", settings.shape, 1000, 4),
        ("grey images", (1, 28, 28), settings.num_classes, 8),
        ("oblong images", (3, 24, 40), settings.num_classes, 8),
    ):
        if (classes != settings.num_classes and settings.own_classes) or (shape != settings.shape and settings.own_shape):
            continue
        network, x = linear_network(settings, 13, shape, classes), bounded_images(shape, n, 13)
        yield BenchCall(name, AttackCall(network, x, mixed_labels(network, x, classes), EPSILON, seed=7))


def _realistic_calls(settings: BenchSettings) -> Iterator[BenchCall]:
    """Yield calls on convolutional networks, one with batch norm and dropout, and on a transformer."""
    builders: dict[str, Callable[[], nn.Module]] = {
        "batch norm and dropout": lambda: convolutional(settings.shape, settings.num_classes, batch_norm=True, dropout=0.4),
        "convolutional": lambda: convolutional(settings.shape, settings.num_classes),
        "transformer": lambda: SmallTransformer(settings.shape, settings.num_classes),
    }
    for name, build in builders.items():
        network = in_pixel_space(build_seeded(14, build), *_statistics(settings.shape, UNEVEN_STATISTICS))
        x = random_images(settings.shape, 8, 14, 0.02, 0.98)
        call = AttackCall(network, x, mixed_labels(network, x, settings.num_classes), EPSILON, seed=8)
        yield BenchCall(name, call)
        if name == "batch norm and dropout":
            yield BenchCall(f"{name}, repeated", replace(call, seed=9))


def _difficult_calls(settings: BenchSettings) -> Iterator[BenchCall]:
    """Yield calls in which float32 cross-entropy cancels, the gradient of images is 0, and the gradient of one is not finite."""
    layer = random_linear(settings.shape, settings.num_classes, 15)
    with torch.no_grad():
        layer.weight.mul_(25)
    confident, x = in_pixel_space(layer), random_images(settings.shape, 8, 15)
    call = AttackCall(confident, x, mixed_labels(confident, x, settings.num_classes), EPSILON, seed=10)
    yield BenchCall("confident network", call, "saturated")
    dim = in_pixel_space(ConstantOnDarkImages(random_linear(settings.shape, settings.num_classes, 18)))
    x = random_images(settings.shape, 6, 18)
    x[1::3] *= 0.2
    y = mixed_labels(dim, x, settings.num_classes)
    y[1::3] = settings.num_classes - 1
    yield BenchCall(ZERO_GRADIENT, AttackCall(dim, x, y, EPSILON, seed=12))
    broken = in_pixel_space(InfiniteGradientAtZero(random_linear(settings.shape, settings.num_classes, 16)))
    x = random_images(settings.shape, 8, 16)
    x[3] = 0.0
    yield BenchCall("gradient not finite", replace(call, model=broken, x=x, y=torch.arange(8) % settings.num_classes), "not finite")


def _targeted_calls(settings: BenchSettings) -> Iterator[BenchCall]:
    """Yield calls whose labels are targets."""
    network, x = linear_network(settings, 17), bounded_images(settings.shape, SMALL_BATCH, 17)
    y = mixed_labels(network, x, settings.num_classes)
    for k, name in enumerate(("targeted", "targeted, other targets")):
        yield BenchCall(name, AttackCall(network, x, (y + k) % settings.num_classes, EPSILON, targeted=True, seed=11))


def fixed_gradient_of(network: nn.Module) -> FixedGradientNetwork | None:
    """Return the body of a bench network whose gradient is fixed; None for other networks."""
    return next((module for module in network.modules() if isinstance(module, FixedGradientNetwork)), None)


def linear_layer_of(network: nn.Module) -> LinearLayer | None:
    """Return the body of a bench network with random rows; None for other networks."""
    return next((module for module in network.modules() if isinstance(module, LinearLayer)), None)
