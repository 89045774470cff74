"""Calls of the test bench for attacks of several steps, in another norm, or with a random start."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.bench_calls import (
    EPSILON,
    SMALL_BATCH,
    STATISTICS,
    UNSEEN_COLUMNS,
    ZERO_GRADIENT,
    BenchCall,
    BenchSettings,
    bounded_images,
    build_calls,
    linear_network,
    mixed_labels,
    random_images,
)
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.networks import Shape, WaveLayer, in_pixel_space

L2_EPSILON = 1.0
"""Budget of the L2 norm for images of 3 x 32 x 32; it grows with the root of the number of pixels."""

LOGIT_GAIN = 220.0
"""Scale of the weights: a budget moves the logits by about 8."""

TURNS = 2.6
"""Radians by which the wave of a pixel turns within the budget."""

LONG = 20
"""Steps above which half as many images are passed, because every iterate is kept."""

ROUGH_AMPLITUDE = 8.0
"""Weight of the waves at which the loss rises and falls from step to step."""

SHARED_CALLS = (
    "magnitudes",
    "size, tiny",
    "batch norm and dropout",
    "transformer",
    "2 classes",
    "grey images",
    "oblong images",
    ZERO_GRADIENT,
)
"""Calls of the bench for FGSM that measure attacks of several steps too."""

ZERO_EPSILON = "size, zero"
"""Call with a budget of 0, which a candidate may refuse."""

SMALL_SHARE = 5e-3
"""Share of the usual budget at which constants in radius and size show; float32 images still tell its steps."""


def build_method_calls(settings: BenchSettings, method: Method, *, targeted: bool) -> list[BenchCall]:
    """Return the calls in order; targeted calls only for a candidate that offers them."""
    again = "one tensor, other labels"
    calls = [BenchCall(name, call, tensor_of="one tensor" if name == again else "") for name, call in _wave_calls(settings, method)]
    calls += [_for_method(one, method) for one in build_calls(settings, targeted=False) if one.name in SHARED_CALLS]
    network, x = linear_network(settings, 19), bounded_images(settings.shape, SMALL_BATCH // 2, 19)
    small = AttackCall(
        network, x, mixed_labels(network, x, settings.num_classes), _budget(method, settings.shape, SMALL_SHARE), seed=13
    )
    calls += [BenchCall("size, small", small), BenchCall(ZERO_EPSILON, replace(small, epsilon=0.0))]
    if targeted:
        network, x, y = wave_batch(settings, 21, n=SMALL_BATCH // 2)
        y = (network(x).argmax(1) + 1 + torch.arange(len(x)) % (settings.num_classes - 1)) % settings.num_classes
        calls.append(BenchCall("targeted", AttackCall(network, x, y, _budget(method, settings.shape), targeted=True, seed=11)))
    return [replace(one, method=method) for one in calls]


def _budget(method: Method, shape: Shape, share: float = 1.0) -> float:
    """Return a budget in the norm of the method that moves pixels of images of that shape about equally far."""
    return share * (EPSILON if method.norm == math.inf else L2_EPSILON * math.sqrt(math.prod(shape) / 3072))


def _for_method(bench_call: BenchCall, method: Method) -> BenchCall:
    """Return a call of the bench for FGSM with a budget in the norm of the method, and with images that tell iterates apart."""
    if bench_call.name == "magnitudes":
        x = bench_call.call.x
        bench_call = replace(bench_call, call=replace(bench_call.call, x=bounded_images(tuple(x.shape[1:]), len(x), 20)))  # type: ignore[arg-type]
    if method.norm == math.inf or bench_call.name == "size, tiny":
        return bench_call
    call = bench_call.call
    return replace(bench_call, call=replace(call, epsilon=_budget(method, tuple(call.x.shape[1:]))))  # type: ignore[arg-type]


def wave_network(settings: BenchSettings, seed: int, *, normalised: bool = False) -> nn.Module:
    """Return a network of waves whose weights are 0 in the unseen columns."""
    generator = torch.Generator().manual_seed(seed)
    shape, classes = settings.shape, settings.num_classes
    weight = torch.randn(classes, *shape, generator=generator) * (LOGIT_GAIN / math.prod(shape))
    weight[..., -UNSEEN_COLUMNS:] = 0.0
    phase = 2 * math.pi * torch.rand(shape, generator=generator)
    layer = WaveLayer(weight, phase, TURNS / EPSILON)
    if not normalised:
        return in_pixel_space(layer)
    mean, std = ([values[k % 3] for k in range(shape[0])] for values in STATISTICS)
    with torch.no_grad():  # in the units of the pixels the network is the same, apart from the phase of the waves
        layer.weight.mul_(torch.tensor(std).view(1, -1, 1, 1))
    layer.frequency *= sum(std) / len(std)
    return in_pixel_space(layer, mean, std)


def wave_batch(
    settings: BenchSettings, seed: int, *, normalised: bool = False, n: int = SMALL_BATCH
) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network, images and labels: some are wrong before the attack, some soon, some late, and some never.

    An image leans towards its label by a pattern of the weights, the further the later it is fooled.
    """
    network = wave_network(settings, seed, normalised=normalised)
    x = random_images(settings.shape, n, seed, 0.4, 0.6)
    places = torch.arange(n)
    y = (3 * places + 1) % settings.num_classes
    layer = next(module for module in network.modules() if isinstance(module, WaveLayer))
    pattern = (layer.weight[y] - layer.weight.mean(0)).sign().detach()
    lean = EPSILON * torch.tensor([0.1, 0.4, 0.8, 3.0])[places % 4].view(-1, 1, 1, 1)
    x = x + lean * pattern
    wrong = places % 8 == 4
    return network, x, torch.where(wrong, (y + 1) % settings.num_classes, y)


def _wave_calls(settings: BenchSettings, method: Method) -> Iterator[tuple[str, AttackCall]]:
    """Yield the names and arguments of the calls on networks of waves."""
    shape, n = settings.shape, SMALL_BATCH if method.steps <= LONG else SMALL_BATCH // 2
    network, x, y = wave_batch(settings, 31, n=n)
    first = AttackCall(network, x, y, _budget(method, shape), seed=1)
    _, other_x, _ = wave_batch(settings, 32, n=n)
    other = replace(
        first, x=other_x, y=mixed_labels(network, other_x, settings.num_classes), epsilon=_budget(method, shape, 0.49), seed=2
    )
    yield "rows", first
    yield "rows, other images", other
    yield "rows, repeated", first
    yield "rows, repeated at once", first
    yield "rows, other seed", replace(first, seed=3)
    yield "rows, third seed", replace(first, seed=29)
    half = n // 2
    mixed = replace(first, x=torch.cat([x[:half], other.x[half:]]), y=torch.cat([y[:half], other.y[half:]]))
    yield "rows, other neighbours", mixed
    yield "rows, one image", replace(first, x=x[1:2], y=y[1:2])
    other_network, _, _ = wave_batch(settings, 33)
    yield "other network", replace(first, model=other_network)
    yield "one tensor", first
    yield "one tensor, other labels", replace(first, y=(y + 1) % settings.num_classes)
    yield "size, large", replace(first, epsilon=_budget(method, shape, 3.9))
    rough = copy_module(network)
    next(module for module in rough.modules() if isinstance(module, WaveLayer)).amplitude = ROUGH_AMPLITUDE
    for name, images, seed in (("rough", x, 4), ("rough, other images", other_x, 5)):
        yield name, replace(first, model=rough, x=images, epsilon=_budget(method, shape, 3.9), seed=seed)
    scaled, x, y = wave_batch(settings, 34, normalised=True, n=n)
    yield "normalised", replace(first, model=scaled, x=x, y=y)
    levels = torch.rand(n, *shape, generator=torch.Generator().manual_seed(35))
    levels[..., -2], levels[..., -1] = 1.0, 0.0
    yield "levels", replace(first, x=levels, epsilon=_budget(method, shape, 6.9))
