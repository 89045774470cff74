"""To which range iterates are clipped, and which of them comes back."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_fgsm.verification.iterates import Measured, carries_over, moves, returned_iterates, smooth_paths
from robustbench_fgsm.verification.stage_result import StageResult, ok, rounded, unmeasured, wrong
from robustbench_fgsm.verification.stages.output import EXPECTED as EXPECTED_OUTPUT
from robustbench_fgsm.verification.step_rule import MIN_MATCH
from robustbench_fgsm.verification.trajectory import Trajectory

MAX_STRANGE = 0.1
"""Share of the images that may come back as none of their iterates: rounding decides signs where the loss is rough."""


def read_iterate_clip(seen: Measured) -> StageResult:
    """Measure the range of the iterates and of the result, for pixels of all levels."""
    expected = "clipped to [0, 1]"
    path, fit = seen.paths.get("levels"), seen.fits.get("levels")
    if path is None or fit is None:
        return unmeasured("clip", "no images came back for pixels of all levels")
    low, high = float(path.output.min()), float(path.output.max())
    inner = (
        [float(value) for value in path.points[1:][path.points[1:].isfinite()].aminmax()] if len(path.points) > 1 else [0.0, 1.0]
    )
    numbers = {"low": rounded(low), "high": rounded(high)}
    if low < -1e-6 or high > 1 + 1e-6:
        only_last = inner[0] >= -1e-6 and inner[1] <= 1 + 1e-6 and len(path.points) > 1
        about = "before the last step, not after it" if only_last else "none"
        if not only_last and (low >= -1e-6 or high <= 1 + 1e-6):
            kept = "bottom" if low >= -1e-6 else "top"
            text = f"to another range, or at the {kept} only: outputs reach {low:.3g} to {high:.3g}"
            return wrong("clip", "wrong-clip-range", text, expected, **numbers)
        return wrong("clip", "no-clip", f"{about}: outputs reach {low:.3g} to {high:.3g}", expected, **numbers)
    if inner[0] < -1e-6 or inner[1] > 1 + 1e-6:
        text = f"only the result: the gradient is taken at images that reach {inner[0]:.3g} to {inner[1]:.3g}"
        return wrong("clip", "clips-result-only", text, "clipped to [0, 1] after each step", **numbers)
    if fit.inner_share > MIN_MATCH or not seen.is_explained or carries_over(seen, "levels"):
        if low > 1e-6 or high < 1 - 1e-6:
            text = f"to another range: outputs reach {low:.3g} to {high:.3g}"
            return wrong("clip", "wrong-clip-range", text, expected, **numbers)
        about = "in each step, before the projection and not after it" if fit.rule.clip == "before" else "after each step"
        first = path.points[0].nan_to_num(nan=0.5).aminmax()
        if first.min < -1e-6 or first.max > 1 + 1e-6:  # no paper clips the random start
            about += f"; the random start reaches {float(first.min):.3g} to {float(first.max):.3g}"
        return ok("clip", f"to [0, 1] {about}", expected, order=fit.rule.clip, **numbers)
    text = f"not by a clamp to [0, 1] after each step: outputs reach {low:.3g} to {high:.3g}"
    return wrong("clip", "wrong-clip-range", text, expected, **numbers)


def read_returned_iterate(seen: Measured, images: StageResult) -> StageResult:
    """Name the iterate that comes back; images: reading of what happens to the images afterwards."""
    if images.verdict == "wrong":
        return images
    if not seen.is_explained or seen.is_alone or not moves(seen) or seen.method.steps == 1 == len(seen.main.points):
        return _scaled_output(seen) or images
    paths = smooth_paths(seen)
    indices = {name: returned_iterates(path, seen.fits[name]) for name, path in paths.items()}
    every = torch.cat(list(indices.values()))
    counts = torch.cat([path.counts for path in paths.values()])
    if bool((every == counts).all()):
        return ok("output", f"the last iterate, {images.text}", EXPECTED_OUTPUT, iterate="last")
    own = [found for name, found in indices.items() if not carries_over(seen, name)]  # else the steps are not those of this call
    strange = sum(int((found == -2).sum()) for found in own)
    if strange > MAX_STRANGE * len(every):
        text = f"{strange} of {len(every)} images come back as no iterate of the attack"
        return _scaled_output(seen) or wrong(
            "output", None, text, EXPECTED_OUTPUT, "return the last iterate, projected to the ball"
        )
    alike = all(bool((one == one[0]).all()) for one in indices.values())
    if alike and not bool((every == counts - 1).all()) and bool((every >= 0).all()):
        shown = ", ".join(sorted({f"{int(one[0])} of {int(paths[name].counts[0])}" for name, one in indices.items()}))
        text = f"one iterate for the whole batch, another one from batch to batch: number {shown}"
        return wrong("output", "best-of-batch", text, "the last iterate, or the best one of each image")
    if bool((every == counts - 1).all()):
        return ok("output", "the point of the last gradient", EXPECTED_OUTPUT, iterate="before the last")
    lost, by_loss = _lost_success(paths, indices), _by_loss(paths, indices)
    if lost and not by_loss:
        text = f"{lost} images come back as an iterate that does not fool the network, although another one does"
        return wrong("output", "wrong-iterate", text, "the last iterate, or the best one of each image", lost=lost)
    clean = "; images that are never fooled come back clean" if bool((every == -1).any()) else ""
    about = "the iterate of highest loss of each image" if by_loss else "an iterate of each image that fools the network"
    return ok("output", f"{about}{clean}", EXPECTED_OUTPUT, iterate="best")


def _lost_success(paths: dict[str, Trajectory], indices: dict[str, Tensor]) -> int:
    """Return the number of images that come back as no success, although one of their iterates is one."""
    lost = 0
    for name, path in paths.items():
        points = torch.arange(len(path.points)).unsqueeze(1) < path.counts
        lost += int((~path.fools[-1] & (path.fools[:-1] & points).any(0) & (indices[name] != path.counts)).sum())
    return lost


def _by_loss(paths: dict[str, Trajectory], indices: dict[str, Tensor]) -> bool:
    """Return True if no point of an image has a higher loss than its output."""
    return all(
        bool((path.losses[-1] >= path.losses[:-1].nan_to_num(nan=-1.0).amax(0) - 1e-4).all()) for path in paths.values()
    ) and any(bool((one >= 0).any()) for one in indices.values())


def _scaled_output(seen: Measured) -> StageResult | None:
    """Find a displacement that comes back several times."""
    fit, path = seen.fits[next(iter(seen.paths))], seen.main
    right, moved = fit.predicted - path.call.x.double(), path.output - path.call.x.double()
    factor = float((right * moved).sum() / right.square().sum().clamp_min(1e-30))
    if (
        seen.method.steps == 1
        or abs(factor - 1) < 0.05
        or float(((moved - factor * right).abs() > 1e-3 * moved.abs().max()).double().mean()) > 0.02
    ):
        return None
    text = f"the perturbation of the last iterate, {factor:.3g} times"
    return wrong("output", "perturbation-twice", text, EXPECTED_OUTPUT, factor=rounded(factor))
