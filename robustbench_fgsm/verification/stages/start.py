"""Where an attack of FGSM's family starts: at the image, or at a random point, with its distribution and radius."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_fgsm.spec import norm_name
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.stage_result import StageResult, ok, rounded, unmeasured, wrong
from robustbench_fgsm.verification.stages.randomness import read_randomness
from robustbench_fgsm.verification.trajectory import TOLERANCE

NOT_MIDDLE = ("levels", "size, large", "rough", "rough, other images")
"""Calls on networks of waves whose images, or budgets, let the bounds cut a start."""

UNIFORM_DISTANCE = 0.02
"""Largest distance of the distribution of a start's pixels from the uniform one, as in a Kolmogorov-Smirnov test."""

ON_SPHERE = 1e-5
"""Distance over epsilon within which lengths count as equal: those of uniform points of a ball of 3,072 pixels differ by 3e-4."""

MIN_STARTS = 4
"""Fewest starts that tell a ball from its surface: one uniform point in 30 lies within `ON_SPHERE` of the surface."""

KOLMOGOROV = 2.0
"""Quantile of the Kolmogorov distribution that 1 in 1,500 samples exceeds."""

RADIUS_WIDTH = 0.02
"""Relative error of the radius of a box: the largest of many draws."""


def read_start(method: Method, evidence: Evidence) -> StageResult:
    """Compare the first points at which gradients are taken with the start of the method."""
    paths = {name: one.path for name, one in evidence.responses.items() if one.path is not None}
    drawn = [path.start / path.call.epsilon for name, path in paths.items() if path.is_smooth and name not in NOT_MIDDLE]
    evidence.is_random = any(float(start.abs().max()) > 1e-4 for start in drawn)
    if method.start == "image":
        return read_randomness(evidence)
    expected = _expected(method)
    if not drawn:
        return unmeasured("randomness", "no gradient was heard, so that the start is not known")
    pixels = torch.cat([start.flatten() for start in drawn])
    if float(pixels.abs().max()) * min(path.call.epsilon for path in paths.values()) <= TOLERANCE and not evidence.is_random:
        used = any("global-rng" in one.observed.side_effects for one in evidence.responses.values())
        text = (
            "numbers are drawn, but the first gradient is taken at the given images"
            if used
            else "none: it starts at the given images"
        )
        return wrong("randomness", "random-start-unused", text, expected, radius=0.0)
    first = float(drawn[0].flatten()[0])
    if all(float((start - first).abs().max()) <= 1e-4 for start in drawn):
        text = f"not random: every pixel of every image starts {first:+.3g} times epsilon from the given one"
        return wrong("randomness", "start-in-wrong-ball", text, expected, radius=rounded(abs(first)))
    if any(bool((start - start[:1]).abs().max() <= 1e-4) for start in drawn if len(start) > 1):
        return wrong("randomness", "start-in-wrong-ball", "one draw serves all images of a batch", expected)
    if method.start == "signs":
        return _signs(method, pixels, expected)
    return _box(pixels, expected) if method.norm == math.inf else _sphere(drawn, expected)


def _expected(method: Method) -> str:
    if method.start == "signs":
        return f"{1 - method.step_size:.3g} times epsilon along random signs"
    return f"a random point of the L{norm_name(method.norm)} ball of radius epsilon"


def _distribution(pixels: Tensor) -> tuple[str, float]:
    """Return the name of the distribution of pixels, and their largest magnitude."""
    radius = float(pixels.abs().max())
    if float((pixels.abs() - radius).abs().median()) < 1e-3 * radius:
        return "two values", radius
    ordered = (pixels / radius).sort().values
    distance = float((torch.linspace(0, 1, len(ordered), dtype=ordered.dtype) - (ordered + 1) / 2).abs().max())
    if distance < UNIFORM_DISTANCE:
        return "uniform", radius
    return ("uniform on one side" if float(ordered.min()) > -0.01 or float(ordered.max()) < 0.01 else "not uniform"), radius


def _signs(method: Method, pixels: Tensor, expected: str) -> StageResult:
    name, radius = _distribution(pixels)
    stated = 1 - method.step_size
    text = f"{name}, {radius:.3g} times epsilon"
    if name == "two values" and abs(radius - stated) < 2e-3:
        return ok("randomness", f"random signs, {radius:.3g} times epsilon", expected, radius=rounded(radius), distribution=name)
    return wrong("randomness", "start-in-wrong-ball", text, expected, radius=rounded(radius), distribution=name)


def _box(pixels: Tensor, expected: str) -> StageResult:
    name, radius = _distribution(pixels)
    numbers = {"radius": rounded(radius), "distribution": name}
    if name == "uniform" and abs(radius - 1) < RADIUS_WIDTH:
        return ok("randomness", f"uniform, within {radius:.3g} times epsilon", expected, **numbers)
    text = f"{name}, within {radius:.3g} times epsilon of the image"
    return wrong("randomness", "start-in-wrong-ball", text, expected, **numbers)


def _sphere(drawn: list[Tensor], expected: str) -> StageResult:
    """Read the L2 norms of the starts: on the sphere, inside the ball, or beyond it."""
    radii = torch.cat([start.flatten(1).norm(dim=1) for start in drawn])
    shown = torch.cat([start.flatten() for start in drawn])
    low, high = float(radii.min()), float(radii.max())
    numbers = {"radius": rounded(high), "least_radius": rounded(low), "distribution": _distribution(shown)[0]}
    if high > 1 + 1e-4:
        box = float(shown.abs().max())
        within = f", {numbers['distribution']} within {box:.3g} times epsilon of each pixel" if box <= 1.01 else ""
        text = f"outside the L2 ball: {low:.3g} to {high:.3g} times epsilon away{within}"
        return wrong("randomness", "start-in-wrong-ball", text, expected, **numbers)
    if len(radii) < MIN_STARTS:
        text = f"{len(radii)} start{'s' * (len(radii) > 1)} only, {low:.5f} to {high:.5f} times epsilon away: too few to tell"
        return unmeasured("randomness", f"{text} the ball from its surface")
    if low > 1 - ON_SPHERE:
        text = f"on the sphere of radius epsilon, never inside the ball: {low:.6f} to {high:.6f} times epsilon away"
        return wrong("randomness", "start-on-sphere", text, expected, **numbers)
    if high < 0.9 or high - low < ON_SPHERE:
        text = f"{low:.5g} to {high:.5g} times epsilon away"
        return wrong("randomness", "start-in-wrong-ball", text, expected, **numbers)
    share = (radii ** drawn[0][0].numel()).sort().values  # of a uniform point: uniform in [0, 1]
    apart = float((share - torch.linspace(0, 1, len(share), dtype=share.dtype)).abs().max())
    kind = "uniform in the ball" if apart < KOLMOGOROV / math.sqrt(len(share)) else "inside the ball"
    return ok("randomness", f"{kind}, {low:.4g} to {high:.4g} times epsilon away", expected, **numbers)
