"""What came back that is no batch of images: another shape or type, or numbers that are not finite."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_fgsm.verification.bench_calls import ZERO_GRADIENT
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.limitations import GROUPS
from robustbench_fgsm.verification.method_bench import ZERO_EPSILON
from robustbench_fgsm.verification.stage_result import StageResult, wrong

NOT_FINITE = "must return finite images"


def with_failures(found: Sequence[StageResult], responses: Sequence[Response]) -> list[StageResult]:
    """Return the readings with the stage that returned no images as wrong, other than in calls that limit what was verified."""
    refused = [one for one in responses if one.observed.failure.startswith("must ") and one.name not in {*GROUPS, ZERO_EPSILON}]
    zero = next((one for one in responses if one.name == ZERO_EPSILON and one.images is not None and not one.is_right), None)
    found = list(found)
    if zero is not None and not any(one.stage == "output" and one.verdict == "wrong" for one in found):
        text = f"pixels move by up to {float(zero.moved.abs().max()):.3g} at epsilon = 0"
        fix = "return the images as they are if epsilon is 0"
        found = _with(found, wrong("size", "wrong-epsilon", text, "no step at epsilon = 0", fix))
    if not refused:
        return found
    failures = {one.name: one.observed.failure for one in refused}
    if failures.keys() == {ZERO_GRADIENT} and failures[ZERO_GRADIENT].startswith(NOT_FINITE):
        text = f"images whose gradient is 0 come back as {failures[ZERO_GRADIENT].partition('got ')[2]}"
        return _with(found, wrong("direction", "nan-for-zero-gradient", text, "an image whose gradient is 0 does not move"))
    text = refused[0].observed.failure
    shape, given = tuple(getattr(refused[0].observed.returned, "shape", ())), tuple(refused[0].call.x.shape)
    cause = "misaligned-images" if shape[1:] == given[1:] and shape[:1] != given[:1] else None
    many = f"{len(refused)} of {len(responses)} calls" if len(refused) > 1 else f"call `{refused[0].name}`"
    output = wrong(
        "output",
        cause,
        f"in {many} the candidate {text}",
        "float images in the shape of x",
        "return one float tensor or array in the shape of x, with finite numbers",
    )
    return [output if one.stage == "output" else one for one in found]


def nan_for_zero_epsilon(responses: Sequence[Response]) -> str:
    """Return what came back at epsilon = 0 that is not finite, in words; empty if nothing did."""
    failures = (one.observed.failure for one in responses if one.name == ZERO_EPSILON)
    text = next((text for text in failures if text.startswith(NOT_FINITE)), "")
    return f"at epsilon = 0 images come back as {text.partition('got ')[2]}" if text else ""


def _with(found: Sequence[StageResult], reading: StageResult) -> list[StageResult]:
    """Return the readings with this one in the place of that of its stage, unless that is wrong already."""
    return [reading if one.stage == reading.stage and one.verdict != "wrong" else one for one in found]
