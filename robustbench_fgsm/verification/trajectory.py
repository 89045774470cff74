"""The iterates of an attack: the points at which the gradient was taken, as the network heard them, and what followed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.losses import logit_gradient
from robustbench_fgsm.verification.call_recorder import ForwardPass
from robustbench_fgsm.verification.networks import WaveLayer

TOLERANCE = 5e-7
"""Largest distance of a right pixel from the exact one: a few roundings of float32 at 1, and deviations of 1e-7."""

UNDECIDABLE_SHARE = 1e-4
"""Rounding may decide the sign of a gradient below this share of the largest gradient of its image."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Iterates of N images over S gradients.

    Attributes:
        call: arguments of the call.
        points: (S, N, C, H, W) images at which the gradient was taken; NaN after the last of an image.
        gradients: (S, N, C, H, W) gradient of what was back-propagated, at these points.
        heard: (S, N, K) gradient that arrived at the logits.
        right: (S, N, K) gradient of cross-entropy with the given labels at the logits.
        fools: (S + 1, N) the point, and last the output, is a success of the attack.
        losses: (S + 1, N) cross-entropy at the points, and last at the output.
        output: (N, C, H, W) returned images.
        counts: (N,) number of gradients of each image.
        returned: (N,) index of the point that the output equals; the count if the output is a further point.
    """

    call: AttackCall
    points: Tensor
    gradients: Tensor
    heard: Tensor
    right: Tensor
    fools: Tensor
    losses: Tensor
    output: Tensor
    counts: Tensor
    returned: Tensor

    @property
    def start(self) -> Tensor:
        """Return the displacement (N, C, H, W) of the first point."""
        return self.points[0].double() - self.call.x.double()

    @cached_property
    def followers(self) -> Tensor:
        """Return what follows each point (S, N, C, H, W): the next point, and the output after the last; NaN behind it."""
        after = torch.cat([self.points[1:], torch.full_like(self.points[:1], float("nan"))])
        after[self.counts - 1, torch.arange(len(self.counts))] = self.output.to(after.dtype)
        return after

    @property
    def is_smooth(self) -> bool:
        """Return True for the networks of waves, whose gradient does not jump."""
        return any(isinstance(module, WaveLayer) for module in self.call.model.modules())

    @property
    def is_alone(self) -> bool:
        """Return True if the gradient is taken at one point only, although the output lies elsewhere."""
        same = (self.points - self.points[:1]).abs().nan_to_num().amax() <= TOLERANCE
        return bool(same) and not bool(((self.output - self.points[0]).abs().flatten(1).amax(1) <= TOLERANCE).all())

    @cached_property
    def stopped(self) -> Tensor:
        """Return the index (N,) of the first point that equals all later ones and the output; the count if there is none."""
        later = torch.cat([self.points, self.output.unsqueeze(0)])
        far = (later - self.output).abs().flatten(2).amax(2) > TOLERANCE  # NaN counts as equal
        last_far = torch.where(far, torch.arange(len(later)).unsqueeze(1), -1).amax(0)
        return torch.minimum(last_far + 1, self.counts)


class OwnPrecision(nn.Module):
    """A network that casts inside, called with float32 images: outputs and gradients are float64 again."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for images of float64."""
        outputs: Tensor = self.network(x.float()).double()
        return outputs


def float64_copy(call: AttackCall) -> nn.Module:
    """Return a copy of the call's network that computes in float64; one that casts inside keeps its own precision."""
    network = copy_module(call.model).double().eval()
    try:
        with torch.no_grad():
            network(call.x[:1].double())
    except (RuntimeError, TypeError, ValueError):
        return OwnPrecision(copy_module(call.model).eval())
    return network


def read_trajectory(call: AttackCall, passes: Iterable[ForwardPass], images: Tensor) -> Trajectory | None:
    """Return the iterates of a call; None if no gradient was heard, or not one for each image."""
    network = float64_copy(call)
    rows: list[list[tuple[Tensor, ...]]] = [[] for _ in call.x]
    points_before = call.x.double().clone()
    for one in passes:
        if (
            one.logit_gradient is None
            or one.inputs is None
            or not one.requires_gradient
            or one.inputs.shape[1:] != call.x.shape[1:]
        ):
            continue
        points = one.inputs.double() * call.std.double() + call.mean.double()
        if not bool(points.isfinite().all()):
            return None
        owners = _owners(points, points_before)
        if owners is None:
            return None
        heard, labels = one.logit_gradient.double(), call.y[owners]
        gradient, logits = _input_gradient(network, points, heard)
        right = logit_gradient(cross_entropy, logits, labels)
        loss, fools = cross_entropy(logits, labels), _fools(logits, labels, targeted=call.targeted)
        for k, owner in enumerate(owners.tolist()):
            rows[owner].append((points[k].float(), gradient[k].float(), heard[k], right[k], fools[k], loss[k]))
            points_before[owner] = points[k]
    if not any(rows):
        return None
    _fill_untouched(rows, call, network)
    counts = torch.tensor([len(row) for row in rows])
    output = images.double()
    with torch.no_grad():
        logits = network(output)
    parts = [_padded([[entry[k] for entry in row] for row in rows], torch.float32 if k < 2 else torch.float64) for k in range(6)]
    points = parts[0]
    distance = (points - output).abs().flatten(2).amax(2).nan_to_num(nan=1.0)
    equal = distance <= TOLERANCE
    latest = torch.where(equal, torch.arange(len(points)).unsqueeze(1), -1).amax(0)
    returned = torch.where(latest >= 0, latest, counts)
    return Trajectory(
        call,
        points,
        parts[1],
        parts[2],
        parts[3],
        torch.cat([parts[4].nan_to_num() > 0, _fools(logits, call.y, targeted=call.targeted).unsqueeze(0)]),
        torch.cat([parts[5], cross_entropy(logits, call.y).unsqueeze(0)]),
        output,
        counts,
        returned,
    )


def _fill_untouched(rows: list[list[tuple[Tensor, ...]]], call: AttackCall, network: nn.Module) -> None:
    """Give each image without a gradient one at its given place, of zero."""
    images = [k for k, row in enumerate(rows) if not row]
    if not images:
        return
    x, y = call.x[images].double(), call.y[images]
    with torch.no_grad():
        logits = network(x)
    fools, losses = _fools(logits, y, targeted=call.targeted), cross_entropy(logits, y)
    for k, image in enumerate(images):
        none = torch.zeros_like(logits[k])
        rows[image].append((x[k], torch.zeros_like(x[k]), none, none, fools[k], losses[k]))


def _fools(logits: Tensor, labels: Tensor, *, targeted: bool) -> Tensor:
    hit = logits.argmax(1) == labels
    return hit if targeted else ~hit


def _padded(rows: list[list[Tensor]], dtype: torch.dtype) -> Tensor:
    """Return rows of tensors as one tensor (S, N, ...), with NaN behind shorter rows."""
    longest = max(len(row) for row in rows)
    columns = []
    for row in rows:
        values = torch.stack([entry.to(dtype) for entry in row])
        filler = values.new_full((longest - len(row), *values.shape[1:]), float("nan"))
        columns.append(torch.cat([values, filler]))
    return torch.stack(columns, 1)


def _owners(points: Tensor, before: Tensor) -> Tensor | None:
    """Return the image (M,) to which each point (M, ...) belongs; None if two points may belong to one image."""
    distances = torch.cdist(points.flatten(1), before.flatten(1))
    nearest = distances.argmin(1)
    if len(points) == len(before):
        own = distances.diagonal()
        if bool((own <= 1.001 * distances.amin(1) + 1e-9).all()) or len(set(nearest.tolist())) < len(nearest):
            return torch.arange(len(points))
    return nearest if len(set(nearest.tolist())) == len(nearest) else None


def _input_gradient(network: nn.Module, points: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient (N, C, H, W) in the images for a gradient (N, K) at the logits, and the logits."""
    leaf = points.clone().requires_grad_()
    with torch.enable_grad():
        logits = network(leaf)
    (gradient,) = torch.autograd.grad(logits, leaf, heard)
    return gradient, logits.detach()
