"""Direction and size of the steps of an attack of FGSM's family."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from robustbench_fgsm.verification.iterates import ROUGH_MATCH, SAME_SIZE, SIZE_CALLS, Measured, climbs, loss_scale, moves
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.stage_result import StageResult, numbers_text, ok, rounded, unmeasured, wrong
from robustbench_fgsm.verification.step_rule import MIN_MATCH, fit_rule, rule_of
from robustbench_fgsm.verification.trajectory import TOLERANCE

HARMLESS_FLOOR = 1e-8
"""Floor in the norm of the summed loss's gradient below which short steps are accepted: float32 hardly tells such losses from 0."""


def read_step_direction(seen: Measured) -> StageResult:
    """Name what the step is taken along, and whether it climbs the loss."""
    method, rule = seen.method, seen.rule
    expected = "the sign of the gradient" if method.norm == math.inf else "the gradient over the L2 norm of its image"
    names = {
        "sign": "the sign",
        "L2": "the gradient over the L2 norm of the image",
        "gradient": "the gradient itself, not normalised",
    }
    names |= {"L2 of the batch": "the gradient over the L2 norm of the batch", "largest": "the gradient over its largest magnitude"}
    text = names[rule.direction]
    fix = "step along gradient.sign()" if method.norm == math.inf else "divide each image's gradient by its L2 norm before the step"
    if not seen.is_explained:
        fit = fit_rule(seen.main, method, rule_of(method))
        moved, along = seen.main.followers - seen.main.points, seen.main.gradients
        agree = float((moved.sign() == fit.way * along.sign())[(moved.abs() > TOLERANCE) & (along != 0)].double().mean())
        if agree < 1 - 0.02 and method.norm != math.inf:
            return wrong("direction", None, f"{100 * (1 - agree):.1f} % of the pixels move against their gradient", expected)
        return ok("direction", f"{100 * agree:.1f} % of the pixels follow the sign of their gradient", expected)
    if not moves(seen):
        return unmeasured("direction", "no step moves a pixel")
    for name, path in seen.paths.items():
        if seen.fits[name].inner_share > ROUGH_MATCH and climbs(path, seen.fits[name]) == path.call.targeted:
            cause = "targeted-as-untargeted" if path.call.targeted else "wrong-sign"
            way = "climbs the loss of the target" if path.call.targeted else "descends the loss"
            return wrong("direction", cause, f"{text}, but the step {way}", expected)
    if "direction" in seen.deviations:
        causes = {"gradient": "raw-gradient", "L2 of the batch": "batch-coupled"}
        return wrong("direction", causes.get(rule.direction, "wrong-norm"), text, expected, fix)
    if rule.floor:
        return _floor(seen, text, expected)
    return ok("direction", text, expected)


def _floor(seen: Measured, text: str, expected: str) -> StageResult:
    """Read the magnitude below which steps are shorter: a tiny one leaves float32 images as they are."""
    floor, scale, batch = seen.rule.floor, loss_scale(seen.main), len(seen.main.counts)
    whole = floor / scale
    about = "" if abs(scale - 1) < SAME_SIZE else f" ({whole:.2g} of the summed loss, in a batch of {batch})"
    numbers = {"floor": rounded(floor), "floor_of_sum": rounded(whole)}
    if seen.rule.direction == "sign":
        text = f"{text}, but no step for |gradient| below {floor:.2g}{about}"
        return wrong("direction", "gradient-threshold", text, expected, threshold=rounded(floor))
    text = f"{text}, with a floor of {floor:.2g} in the norm{about}"
    if whole < HARMLESS_FLOOR:
        return ok("direction", f"{text}: shorter steps only for gradients as small", expected, **numbers)
    return wrong("direction", "gradient-floor", f"{text}: steps of smaller gradients are shorter", expected, **numbers)


def read_step_size(seen: Measured) -> StageResult:
    """Compare the size of the steps with the stated one, at several budgets."""
    method = seen.method
    sizes: dict[float, tuple[float, bool]] = {}
    for name, fit in seen.fits.items():
        epsilon = seen.paths[name].call.epsilon
        is_measured = not math.isnan(fit.size) and (name in SIZE_CALLS or fit.size != method.size_at(epsilon))
        if is_measured and seen.paths[name].is_smooth:
            sizes.setdefault(epsilon, (fit.size, fit.is_least))
    unit = "times epsilon" if method.is_share else "in the units of the pixels"
    expected = f"{method.step_size:.4g} {unit} a step"
    if seen.is_alone or not sizes:
        return _alone_size(seen, expected)
    off = {e: size for e, (size, least) in sizes.items() if not _size_fits(method, e, size, is_least=least)}
    numbers: dict[str, Any] = {"sizes": {f"{e:.4g}": rounded(size) for e, (size, _) in sizes.items()}}
    exact = {e: size for e, (size, least) in sizes.items() if not least}
    shown = exact if exact and off.keys() <= exact.keys() else {e: size for e, (size, _) in sizes.items()}
    shares, values = torch.tensor([size / e for e, size in shown.items()]), torch.tensor([*shown.values()])
    bounded = f"at least {numbers_text(shares)} times epsilon a step: every step ends at the surface of the ball"
    if not off:
        by_channel = _channel_sizes(seen)
        if by_channel is not None:
            text = f"{numbers_text(by_channel)} times the stated size by channel, on a network with normalisation"
            return wrong("size", "normalised-epsilon", text, expected, by_channel=rounded(by_channel), **numbers)
        text = f"{numbers_text(shares)} times epsilon a step" if method.is_share else f"{numbers_text(values)} a step"
        return ok("size", text if exact else bounded, expected, **numbers)
    if not seen.is_explained:
        return unmeasured("size", "the steps follow no known rule, so that no one size fits them")
    if float(values.max()) <= TOLERANCE:
        return wrong("size", "no-op", "0: no step moves a pixel", expected, **numbers)
    if not exact:
        return wrong("size", "wrong-step-size", bounded, expected, at_least=rounded(shares), **numbers)
    ratio = next(iter(off.values())) / method.size_at(next(iter(off)))
    cause = "epsilon-scale-255" if min(abs(ratio * 255 - 1), abs(ratio / 255 - 1)) < SAME_SIZE else "wrong-step-size"
    if float(values.max() - values.min()) < SAME_SIZE * float(values.max()) and len(values) > 1:
        text = f"{float(values.median()):.4g} for every epsilon"
    elif float(shares.max() - shares.min()) < SAME_SIZE * float(shares.max()):
        text = f"{float(shares.median()):.4g} times epsilon"
    else:
        text = ", ".join(f"{size:.4g} at epsilon {e:.3g}" for e, size in sorted(shown.items()))
    return wrong("size", cause, f"{text} a step", expected, ratio=rounded(ratio), **numbers)


def _size_fits(method: Method, epsilon: float, size: float, *, is_least: bool) -> bool:
    stated = method.size_at(epsilon)
    if is_least and stated >= size * (1 - SAME_SIZE):
        return True
    return abs(size - stated) <= SAME_SIZE * stated + TOLERANCE


def _alone_size(seen: Measured, expected: str) -> StageResult:
    """Read the length of all steps together, of an attack whose gradients are taken at one point."""
    path, method = seen.main, seen.method
    moved = path.output - path.points[0]
    total = float(moved.abs().max() if method.norm == math.inf else moved.flatten(1).norm(dim=1).max()) / path.call.epsilon
    if total * path.call.epsilon <= TOLERANCE:
        return wrong("size", "no-op", "0: no step moves a pixel", expected, factor=0.0)
    return unmeasured("size", f"all steps together move by {total:.3g} times epsilon")


def _channel_sizes(seen: Measured) -> Tensor | None:
    """Return the steps by channel over the stated size, if they differ on a network with normalisation."""
    path, fit = seen.paths.get("normalised"), seen.fits.get("normalised")
    if path is None or fit is None or fit.inner_share > MIN_MATCH or seen.method.norm != math.inf:
        return None
    moved = (path.followers - path.points).abs().transpose(0, 2).flatten(1)
    inside = ((path.followers - path.call.x.double()).abs() < 0.9 * path.call.epsilon).transpose(0, 2).flatten(1) & (
        moved > TOLERANCE
    )
    stated = seen.method.size_at(path.call.epsilon)
    sizes = [float(one[use].median()) / stated if bool(use.any()) else math.nan for one, use in zip(moved, inside, strict=True)]
    return torch.tensor(sizes) if max(abs(size - 1) for size in sizes) > SAME_SIZE else None
