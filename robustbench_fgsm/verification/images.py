"""What adversarial images alone show of the attack that made them, on a network of which nothing is known."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.stage_result import (
    Stage,
    StageResult,
    most_common_value,
    numbers_text,
    ok,
    rounded,
    unmeasured,
    wrong,
)
from robustbench_fgsm.verification.stages.loss import read_loss_of
from robustbench_fgsm.verification.stages.output import on_8_bit_grid
from robustbench_fgsm.verification.stages.size import name_sizes

OWN_CALL = "own"
"""Name of the first call on the user's own network; the names of the others begin with it."""

MAX_CLASSES = 20
MAX_IMAGES = 8


def read_images(response: Response) -> list[StageResult]:
    """Return the readings of the stages that images show: output, size or direction, clip, loss and labels."""
    evidence = Evidence.of([response])
    readings = [*_output(evidence, response), *_size_and_direction(evidence, response), *_clip(response)]
    with torch.no_grad():
        classes = int(response.call.model(response.call.x[:1]).shape[1])
    if classes <= MAX_CLASSES:
        loss = read_loss_of(evidence, response.first(MAX_IMAGES))
        readings += [loss.loss, loss.labels]
        if loss.descends:
            readings.append(wrong("direction", "wrong-sign", "minus the sign: the step descends the loss"))
    return readings


def read_own_calls(evidence: Evidence) -> dict[Stage, StageResult]:
    """Return what the calls on the user's own network say about each stage; empty if there are none."""
    own = [response for name, response in evidence.responses.items() if name.partition(",")[0] == OWN_CALL]
    if not own:
        return {}
    if wrong_one := next((response for response in own if not response.is_right), None):
        readings = read_images(wrong_one)
        return {one.stage: one for one in sorted(readings, key=lambda one: one.verdict == "wrong")}
    pixels = sum(int(response.decidable.sum()) for response in own)
    shown = f"as expected on your own network, in {pixels:,} pixels"
    found: dict[Stage, StageResult] = {stage: ok(stage, shown) for stage in ("loss", "labels", "direction", "clip", "output")}
    if len({response.call.epsilon for response in own}) > 1:
        found["size"] = ok("size", shown)
    if all(len(response.gradient_rounds) == 1 for response in own):
        found["steps"] = ok("steps", "one gradient was heard in each call")
    if len(own) > 1:
        found["randomness"] = ok("randomness", "none: repeated calls give the images of FGSM")
    return found


def _images(response: Response) -> Tensor:
    assert response.images is not None  # noqa: S101  (the caller has images)
    return response.images


def _output(evidence: Evidence, response: Response) -> list[StageResult]:
    share = on_8_bit_grid(_images(response))
    if share < 0.98 or on_8_bit_grid(response.expected) > 0.98:
        return [ok("output", "not on the grid of 8 bits")]
    offset = float((_images(response) - response.expected).mean()) * 255
    evidence.resolution = 1 / 255
    name, cause = ("truncated", "truncated-8bit") if abs(offset) > 0.25 else ("rounded", "quantised-8bit")
    return [
        wrong(
            "output", cause, f"{name} to 8 bits: {100 * share:.1f} % of the pixels are multiples of 1/255", on_grid=rounded(share)
        )
    ]


def _size_and_direction(evidence: Evidence, response: Response) -> list[StageResult]:
    """Read the most common displacement in each channel, or the norm of images whose pixels have no common one."""
    epsilon, (low, high) = response.call.epsilon, response.call.bounds.limits
    images = _images(response)
    inside = (images > low + 1e-6) & (images < high - 1e-6) & (response.expected != response.call.x)
    relative = response.moved.abs() / epsilon
    if not bool((relative > 0).any()):
        return [wrong("size", "no-op", "0 times epsilon: the images come back unchanged")]
    found = [most_common_value(relative[:, c][inside[:, c] & (relative[:, c] > 0)], 1e-3) for c in range(relative.shape[1])]
    sizes = torch.tensor([value for value, _ in found])
    if min(share for _, share in found) > 0.3:
        if float((sizes - 1).abs().max()) * epsilon <= max(1e-6, 2 * evidence.resolution):
            return [ok("size", f"{numbers_text(sizes)} times epsilon")]
        cause, text = name_sizes(sizes, response)
        return [wrong("size", cause, text, by_channel=rounded(sizes))]
    if evidence.resolution:
        return [unmeasured("size", "8 bits hide the size of the step")]
    norms = (response.moved / epsilon).flatten(1).norm(dim=1)
    if float((norms - 1).abs().max()) < 0.05:
        return [wrong("direction", "wrong-norm", "the gradient over the L2 norm of the image, which moves by epsilon in that norm")]
    if float(relative.median()) < 0.5:
        return [
            wrong(
                "direction",
                "raw-gradient",
                f"pixels move by different amounts, {float(relative.median()):.3g} times epsilon in the median",
            )
        ]
    return [unmeasured("size", "pixels move by different amounts")]


def _clip(response: Response) -> list[StageResult]:
    low, high = response.call.bounds.limits
    reach_low, reach_high = float(_images(response).min()), float(_images(response).max())
    if reach_low >= low - 1e-6 and reach_high <= high + 1e-6:
        return [ok("clip", "within the bounds")]
    text = f"outputs reach {reach_low:.3g} to {reach_high:.3g}"
    return [wrong("clip", "no-clip", text, low=rounded(reach_low), high=rounded(reach_high))]
