"""Whether there is one step: on a network whose gradient turns at known distances from the image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustbench_fgsm.verification.bench_calls import fixed_gradient_of
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import Evidence, unit_vector, way_sizes
from robustbench_fgsm.verification.stage_result import StageResult, ok, unmeasured, wrong

EXPECTED = "one step, along the gradient at the given image"
STEP_COUNTS = (2, 3, 4, 5, 7, 8, 10, 15, 20, 40)
STEP_SIZES = {"epsilon / steps": None, "2.5 epsilon / steps": 2.5, "epsilon": 1.0, "1/255": 1 / 255, "2/255": 2 / 255, "0.01": 0.01}


def read_steps(evidence: Evidence, direction: StageResult) -> StageResult:
    """Count the steps: by what the network heard, and by pixels whose gradient turns before the step is done."""
    response = evidence.get("turns")
    if response is None:
        return unmeasured("steps", "no images came back for a network whose gradient turns")
    points = _points(response)
    if points > 1:
        return _several(response, f"the gradient is taken at {points} points")
    moved = response.moved.abs()
    if points == 1 and (direction.cause == "masked-pixels" or one_sided(evidence)):
        return ok("steps", "one gradient was heard", EXPECTED, gradients=1)
    if not bool((moved > evidence.width).any()):
        return unmeasured("steps", "no pixel moved")
    if evidence.is_random:
        text = "one gradient was heard" if points == 1 else ""
        return ok("steps", text, EXPECTED) if text else unmeasured("steps", "random starts hide the number of steps")
    sizes = (moved / moved.flatten(1).amax(1).clamp_min(1e-12).view(-1, 1, 1, 1))[moved.flatten(1).amax(1) > evidence.width]
    along = torch.stack([_by_distance(response, one) for one in sizes])
    if float(along.max() - along.min()) > 0.05 + 2 * evidence.resolution / response.call.epsilon and not evidence.is_mixed:
        return _several(response, "pixels whose gradient turns before epsilon turn back")
    return ok("steps", "one", EXPECTED, gradients=max(points, 1))


def one_sided(evidence: Evidence) -> bool:
    """Return True if pixels that move up and down have other sizes, so that sizes do not tell of steps."""
    response = evidence.get("size")
    up, down = way_sizes(response) if response is not None else (1.0, 1.0)
    return min(up, down) > 0 and abs(up / down - 1) > 0.02


def _by_distance(response: Response, sizes: Tensor) -> Tensor:
    """Return the median size of the pixels of each turning distance."""
    network = fixed_gradient_of(response.call.model)
    assert network is not None  # noqa: S101  (the call was made with it)
    assert network.turning_distance is not None  # noqa: S101
    distances = network.turning_distance
    groups = [sizes[(distances == one) & (unit_vector(response) != 0)] for one in sorted(set(distances.flatten().tolist()))]
    moved = [group[group > 1e-3] for group in groups]  # a bound may hold the pixels that move one way
    return torch.stack(
        [some.median() if 4 * len(some) > len(group) else group.median() for some, group in zip(moved, groups, strict=True)]
    )


def _points(response: Response) -> int:
    """Return at how many different images the gradient was taken, as far as heard; 0 if nothing was heard."""
    points: list[Tensor] = []
    for one in response.gradient_rounds:
        if one.inputs is not None and not any(
            p.shape == one.inputs.shape and bool(torch.allclose(p, one.inputs, atol=1e-5)) for p in points
        ):
            points.append(one.inputs)
    return len(points)


def _several(response: Response, text: str) -> StageResult:
    named = _simulate(response)
    shown = f"{text}; like {named[0]} steps of {named[1]}" if named else text
    count: dict[str, Any] = {"steps": named[0], "step_size": named[1]} if named else {}
    return wrong("steps", "iterated", f"several: {shown}", EXPECTED, heard=len(response.gradient_rounds), **count)


def _simulate(response: Response) -> tuple[int, str] | None:
    """Return the number and size of steps that give these images, projected to epsilon."""
    network = fixed_gradient_of(response.call.model)
    if network is None or network.turning_distance is None:
        return None
    epsilon, distances = response.call.epsilon, network.turning_distance
    vector = unit_vector(response)
    moved = response.moved
    signs = (moved * vector).flatten(1).sum(1).sign().view(-1, 1, 1, 1)
    along = moved * vector * signs
    heard = len(response.gradient_rounds)
    for count in (heard,) if heard > 1 else STEP_COUNTS:
        for name, value in STEP_SIZES.items():
            size = (
                epsilon / count
                if value is None
                else value * epsilon / count
                if value == 2.5
                else value * (epsilon if name == "epsilon" else 1)
            )
            place = torch.zeros_like(distances)
            for _ in range(count):
                place = (place + size * torch.where(place.abs() < distances, 1.0, -1.0)).clamp(-epsilon, epsilon)
            if float(((along - place).abs() < 1e-5)[:, vector != 0].float().mean()) > 0.95:
                return count, name
    return None
