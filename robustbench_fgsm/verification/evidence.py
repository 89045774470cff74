"""The responses of a candidate by name, and what the first measurements say about reading the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import product

import torch
from torch import Tensor

from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.bench_calls import UNSEEN_COLUMNS, fixed_gradient_of
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.stage_result import most_common_value
from robustbench_fgsm.verification.trajectory import TOLERANCE, read_trajectory

MIN_SHARE = 0.98
"""Share of the pixels that must fit before a pattern is named."""


@dataclass
class Evidence:
    """Responses that brought images, and how to read them.

    Attributes:
        responses: responses by name of the call, with the layout of the output undone.
        resolution: distance by which the output stage blurs a pixel, 0 if it does not.
        noise: largest difference between the results of equal calls.
        rounding: error of undoing what the output stage did.
        is_random: the same call gives other images.
        signs: for each call on a network with a fixed gradient, the sign (N,) of the displacement against the network's vector.
        is_mixed: the direction of a pixel does not follow its own gradient.
    """

    responses: dict[str, Response]
    resolution: float = 0.0
    noise: float = 0.0
    rounding: float = 0.0
    is_random: bool = False
    is_mixed: bool = False
    signs: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, responses: Iterable[Response]) -> Evidence:
        """Keep the responses that brought images."""
        return cls({response.name: response for response in responses if response.images is not None})

    def get(self, name: str) -> Response | None:
        """Return the response to that call; None if it brought no images."""
        return self.responses.get(name)

    def undo(self, inverse: Callable[[Tensor, AttackCall], Tensor]) -> None:
        """Apply a function to the images of each call, which undoes what the output stage did to them."""
        for name, response in self.responses.items():
            if response.images is not None:
                images = inverse(response.images, response.call)
                path = None if response.path is None else read_trajectory(response.call, response.observed.forward_passes, images)
                self.responses[name] = replace(response, images=images, path=path)

    @property
    def width(self) -> float:
        """Return the distance within which two pixels count as equal."""
        return max(TOLERANCE, self.rounding, 2 * self.resolution)


def unit_vector(response: Response) -> Tensor:
    """Return the sign (C, H, W) of the gradient of a network with a fixed gradient."""
    network = fixed_gradient_of(response.call.model)
    assert network is not None  # noqa: S101  (only such calls are read this way)
    return network.vector.detach().sign()


def is_free(response: Response) -> Tensor:
    """Return the pixels (N, C, H, W) that no bound holds: those whose output is not an extreme value that many pixels share.

    Images of constant grey have no such extremes, so all their pixels are free.
    """
    images = response.images
    assert images is not None  # noqa: S101  (readers only see calls that returned images)
    seen = images[..., :-UNSEEN_COLUMNS]
    if float(response.call.x[..., :-UNSEEN_COLUMNS].std()) < 1e-3:
        return torch.ones_like(images, dtype=torch.bool)
    free = torch.ones_like(images, dtype=torch.bool)
    for extreme in (seen.amax((0, 2, 3), keepdim=True), seen.amin((0, 2, 3), keepdim=True)):
        held = (images - extreme).abs() < 1e-6
        free &= ~(held & (held.float().mean((0, 2, 3), keepdim=True) > 0.01))
    return free


def image_signs(response: Response, width: float) -> tuple[Tensor, Tensor]:
    """Return the sign (N,) of the displacement along the network's vector, and the share (N,) of moved pixels that have it."""
    moved = response.moved
    along = (moved * unit_vector(response)).flatten(1)
    is_moved = (along.abs() > width) & is_free(response).flatten(1)
    up = ((along > 0) & is_moved).sum(1) / is_moved.sum(1).clamp_min(1)
    signs = torch.where(is_moved.any(1), torch.where(up >= 0.5, 1.0, -1.0), 0.0)
    return signs, torch.maximum(up, 1 - up)


def overrules_small_gradients(evidence: Evidence) -> bool:
    """Return True if pixels with a small gradient do not follow it, as if another term were added to the loss."""
    response = evidence.get("magnitudes")
    if response is None or evidence.is_mixed:
        return False
    signs, shares = image_signs(response, evidence.width)
    return bool((signs != 0).any()) and float(shares[signs != 0].mean()) < 0.9


def way_sizes(response: Response) -> tuple[float, float]:
    """Return the most common displacement over epsilon of the pixels that move up, and of those that move down; 0 for none."""
    counts = is_free(response) & (unit_vector(response) != 0)
    relative = (response.moved / response.call.epsilon)[counts]
    up, down = (most_common_value(side.abs(), 1e-3) for side in (relative[relative > 1e-3], relative[relative < -1e-3]))
    return tuple(value if share > 0.5 else 0.0 for value, share in (up, down))  # type: ignore[return-value]


def channel_sizes(response: Response, resolution: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the most common |displacement| / epsilon for each image and channel, and its share of the pixels that moved.

    Displacements count from the image, or from where the gradient was heard to be taken if that gives more of them one value.
    A blurred output gives the mean instead.

    Returns:
        Two tensors (N, C); 0 if no pixel of an image moved, NaN if other channels of the image moved.
    """
    if bool((response.starting_points != response.call.x).any()):
        both = [_sizes_from(response, start, resolution) for start in (response.call.x, response.starting_points)]
        return max(both, key=lambda found: float(found[1].nan_to_num().mean()))
    return _sizes_from(response, response.call.x, resolution)


def _sizes_from(response: Response, start: Tensor, resolution: float) -> tuple[Tensor, Tensor]:
    assert response.images is not None  # noqa: S101  (readers only see calls that returned images)
    counts = (unit_vector(response) != 0) & is_free(response)
    relative = (response.images - start).abs() / response.call.epsilon
    counts &= relative * response.call.epsilon > max(1e-9, resolution / 2)
    width = max(1e-4, 4 * TOLERANCE / response.call.epsilon)
    values, shares = (torch.full(relative.shape[:2], float("nan")) for _ in range(2))
    for n, c in product(*map(range, relative.shape[:2])):
        moved = relative[n, c][counts[n, c]]
        if resolution and len(moved):
            values[n, c], shares[n, c] = moved.mean(), 1.0
        elif len(moved):
            values[n, c], shares[n, c] = most_common_value(moved, width)
    unmoved = values.isnan().all(1)
    values[unmoved], shares[unmoved] = 0.0, 0.0
    return values, shares
