"""Whether the same call gives the same images, and whether the attack starts at the given images."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from robustbench_fgsm.verification.bench_calls import STILL_COLUMNS
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.stage_result import StageResult, ok, rounded, unmeasured, wrong

EXPECTED = "the same call gives the same images, and pixels without gradient stay"


def read_randomness(evidence: Evidence) -> StageResult:
    """Compare equal calls, and look at pixels that the network does not see."""
    first, again = evidence.get("rows, repeated"), evidence.get("rows, repeated at once")
    others = [one for name in ("rows, other seed", "rows, third seed") if (one := evidence.get(name)) is not None]
    if first is None or again is None or not others:
        return unmeasured("randomness", "the repeated calls brought no images")
    reseeded = max(others, key=lambda one: _apart(again, one))
    apart = _apart(again, reseeded)
    start = first.starting_points - first.call.x
    if apart <= evidence.width or {"changes-model", "statistics-drift"} & again.observed.side_effects.keys():
        if _is_noise(start, first.call.x) and _same_noise(evidence):
            return _random_start(first, f"the gradient is taken up to {float(start.abs().max()):.3g} away from the images")
        return ok("randomness", "none: the same call gives the same images", EXPECTED, largest_difference=rounded(apart))
    if not _draws(first, again, reseeded):
        return ok("randomness", "none drawn: what differs follows from earlier calls", EXPECTED)
    evidence.is_random, evidence.noise = True, apart
    if bool((_unseen(first).abs() > evidence.width).float().mean() > 0.5) or _is_noise(start, first.call.x):
        return _random_start(first, f"the same call gives images up to {apart:.3g} apart, also where there is no gradient")
    sizes = [_sizes(one) for one in (again, reseeded)]
    if float((sizes[0] - sizes[1]).abs().max()) > 0.01:
        return wrong(
            "randomness",
            "random-budget",
            f"the size of the step differs from call to call, by up to {apart:.3g}",
            EXPECTED,
            largest_difference=rounded(apart),
        )
    return wrong(
        "randomness",
        None,
        f"the same call gives images up to {apart:.3g} apart",
        EXPECTED,
        "draw nothing: FGSM is deterministic",
        largest_difference=rounded(apart),
    )


def _random_start(response: Response, text: str) -> StageResult:
    drawn = (response.starting_points - response.call.x).flatten()
    if not bool(drawn.any()):
        drawn = _unseen(response).flatten()
    radius = float(drawn.abs().max()) / response.call.epsilon
    spread = float(drawn.std()) / max(float(drawn.abs().max()), 1e-12)
    shape = "two values" if spread > 0.9 else "uniform" if spread > 0.5 else "bell-shaped"
    return wrong(
        "randomness",
        "random-start",
        f"{text}; the start is {shape}, within {radius:.3g} times epsilon",
        EXPECTED,
        radius=rounded(radius),
        distribution=shape,
    )


def _apart(one: Response, other: Response) -> float:
    return float((one.moved - other.moved).abs().max())


def _unseen(response: Response) -> Tensor:
    return response.moved[..., STILL_COLUMNS]


def _sizes(response: Response) -> Tensor:
    """Return the largest displacement of each image over epsilon."""
    return response.moved.abs().flatten(1).amax(1) / response.call.epsilon


def _is_noise(difference: Tensor, x: Tensor) -> bool:
    """Return True if a difference from the images is there and is no linear function of their pixels, nor of one size."""
    if float(difference.abs().max()) < 1e-5:
        return False
    flat, pixels = (one.transpose(0, 1).flatten(1).double() for one in (difference, x))
    flat, pixels = flat - flat.mean(1, keepdim=True), pixels - pixels.mean(1, keepdim=True)
    slope = (flat * pixels).sum(1, keepdim=True) / pixels.square().sum(1, keepdim=True)
    return float((flat - slope * pixels).std()) > 0.3 * float(difference.std())


def _same_noise(evidence: Evidence) -> bool:
    """Return True if other images start with the same noise, in units of epsilon: noise of a fixed seed."""
    first, other = evidence.get("rows"), evidence.get("rows, other images")
    if first is None or other is None:
        return False
    noises = [((one.starting_points - one.call.x) / one.call.epsilon)[..., STILL_COLUMNS] for one in (first, other)]
    return float((noises[0] - noises[1]).abs().max()) < 0.2 * float(noises[0].abs().max())


def _draws(first: Response, again: Response, reseeded: Response) -> bool:
    """Return True if something was drawn: a global generator was used, or more than the state of earlier calls differs."""
    if "global-rng" in again.observed.side_effects:
        return True
    if float((_sizes(again) - _sizes(reseeded)).abs().max()) > 0.01 or float(_unseen(again).abs().max()) > 1e-6:
        return True
    heard = [one.gradient_rounds[0].logit_gradient for one in (first, again, reseeded) if one.gradient_rounds]
    different = any(
        a is not None and b is not None and not torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in itertools.pairwise(heard)
    )
    return different or (_apart(first, again) > 1e-6 and _flipped_share(first, again) > 0.2)


def _flipped_share(one: Response, other: Response) -> float:
    return float((one.moved.sign() != other.moved.sign()).float().mean())
