"""Calls that a candidate could not run, and what it was written for instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from robustbench_fgsm.attack.normalisation import KNOWN_NORMALISATIONS, Normalisation
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.references.candidate_styles import accepts
from robustbench_fgsm.verification.bench_calls import BenchCall, BenchSettings, first_call
from robustbench_fgsm.verification.check_pixels import Response, respond
from robustbench_fgsm.verification.method_bench import ZERO_EPSILON

ALTERNATIVES = (
    ("one image at a time", "--one-image", replace(BenchSettings(), one_image=True)),
    ("images of 1 x 28 x 28", "--image-shape 1x28x28", BenchSettings(shape=(1, 28, 28))),
    ("one image of 1 x 28 x 28 at a time", "--image-shape 1x28x28 --one-image", BenchSettings(shape=(1, 28, 28), one_image=True)),
    ("images of 3 x 224 x 224", "--image-shape 3x224x224", BenchSettings(shape=(3, 224, 224))),
    ("2 classes", "--classes 2", BenchSettings(num_classes=2)),
    ("1000 classes", "--classes 1000", BenchSettings(num_classes=1000)),
)

GROUPS = {
    "2 classes": ("another number of classes", "pass --classes {classes} to verify it for {classes} classes only"),
    "1000 classes": ("another number of classes", "pass --classes {classes} to verify it for {classes} classes only"),
    "grey images": ("images of another shape", "pass --image-shape {shape} to verify it for this shape only"),
    "oblong images": ("images of another shape", "pass --image-shape {shape} to verify it for this shape only"),
}


STYLE_CALLS = ("rows", "size", "levels")
"""Calls that tell whether a candidate was written for normalised images."""


@dataclass(frozen=True)
class Limitation:
    """Something that a candidate could not run, why, and what to do."""

    text: str
    remedy: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the limitation."""
        return {"text": self.text, "remedy": self.remedy}


def find_limitations(
    candidate: Candidate, responses: Sequence[Response], settings: BenchSettings, time_limit: float
) -> list[Limitation]:
    """Return what the candidate could not run; calls that a right candidate may refuse may raise."""
    failed = [response for response in responses if response.observed.failure and response.bench_call.rule != "not finite"]
    failed = [one for one in failed if not one.observed.failure.startswith("must ") or one.name in GROUPS]
    if not responses[0].observed.failure:
        failed = [one for one in failed if not _may_refuse(one) or one.observed.failure.startswith("takes longer")]
    if not failed:
        return []
    if failed[0].observed.failure.startswith("takes longer"):
        text = f"call `{failed[0].name}` {failed[0].observed.failure}"
        return [Limitation(text, "raise the limit with --time-limit, or verify a faster function")]
    ran = [response for response in responses if response.images is not None and response.bench_call.rule != "not finite"]
    if responses[0].observed.failure and settings == BenchSettings():
        for about, option, other in ALTERNATIVES:
            first = first_call(other)
            one = respond(candidate, first, first.call.model, first.call.x.clone(), time_limit, one_image=other.one_image)
            if one.images is not None:
                return [
                    Limitation(
                        f"the candidate was written for {about}: otherwise it {failed[0].observed.failure}", f"pass {option}"
                    )
                ]
    if not ran:
        text = f"no call ran: the candidate {failed[0].observed.failure}"
        return [Limitation(text, "pass --model with the network it was written for, and see the traceback with --debug")]
    found: dict[str, Limitation] = {}
    for response in failed:
        about, remedy = GROUPS.get(response.name, (f"call `{response.name}`", "see the traceback with --debug"))
        remedy = remedy.format(classes=settings.num_classes, shape="x".join(map(str, settings.shape)))
        found.setdefault(about, Limitation(f"the candidate does not take {about}: it {response.observed.failure}", remedy))
    return list(found.values())


def _may_refuse(response: Response) -> bool:
    """Return True if the budget of a call is 0, or below a step size that is stated in the units of the images."""
    method, epsilon = response.bench_call.method, response.call.epsilon
    return response.name == ZERO_EPSILON or (not method.is_share and method.step_size > epsilon)


def find_other_style(
    candidate: Candidate, calls: Sequence[BenchCall], time_limit: float, *, one_image: bool = False
) -> list[Limitation]:
    """Return that a wrong candidate is right for normalised images, or that it has a normalisation which nothing usual fits."""
    if candidate.statistics is not None:
        text = "the candidate has its own mean and std, and it is wrong with each of the usual ones"
        return [Limitation(text, "if they are right for your network, pass --model with the network, and --mean and --std")]
    known = find_normalisation(candidate, calls, time_limit, one_image=one_image) if candidate.style == "plain" else None
    if known is None:
        return []
    text = f"in style plain the candidate is wrong, but it is right for images that are normalised with {known}"
    return [Limitation(text, "pass --style normalised")]


def find_normalisation(
    candidate: Candidate, calls: Sequence[BenchCall], time_limit: float, *, one_image: bool = False
) -> Normalisation | None:
    """Return the usual mean and std of normalised images for which a candidate is right in three calls; None if there are none."""
    tried = [call for call in calls if call.name in STYLE_CALLS]
    if len(tried) < len(STYLE_CALLS) or not accepts(candidate.call, 4):
        return None
    for known in KNOWN_NORMALISATIONS:
        other = replace(candidate, style="normalised").normalised_with(known)
        answer = partial(respond, other, time_limit=time_limit, one_image=one_image)
        if all(answer(call, copy_module(call.call.model), call.call.x.clone()).is_right for call in tried):
            return known
    return None
