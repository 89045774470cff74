"""What a call leaves behind, and what it depends on beside its arguments: other images, other calls, other networks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from robustbench_fgsm.attack.gradient import input_gradient
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.variants.altered_models import guided_copy
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID
from robustbench_fgsm.verification.check_pixels import Response, step_along
from robustbench_fgsm.verification.evidence import MIN_SHARE, Evidence
from robustbench_fgsm.verification.stage_result import StageResult, ok, unmeasured, wrong

EXPECTED = "the result depends on the arguments alone, and nothing is changed"
BATCH_CAUSES = frozenset(
    {"batch-coupled", "clip-to-batch-range", "random-budget", "soft-sign", "gradient-threshold", "raw-gradient", "half-precision"}
)
"""Causes at other stages by which an image depends on its batch: an averaged loss divides its gradient by the batch size."""

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Observation:
    """One thing that a candidate does beside its result: id of the mistake, or None, and what shows it.

    is_expected: the caller accepts it, so that it does not count with `strict` either.
    """

    cause: str | None
    evidence: str
    is_expected: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object, with the remedy."""
        remedy = MISTAKE_BY_ID[self.cause].remedy if self.cause else ""
        return {"cause": self.cause, "evidence": self.evidence, "remedy": remedy}


def read_conduct(
    evidence: Evidence,
    responses: Sequence[Response],
    others: Iterable[StageResult],
    expect: Collection[str] = (),
    *,
    accepted: Collection[str] = (),
) -> tuple[StageResult, list[Observation]]:
    """Return the reading of the conduct, and everything that is wrong with it.

    accepted: stages whose deviation the caller expects, so that other images than the right ones come back.
    """
    wrong_stages = [one for one in others if one.verdict == "wrong"]
    causes = {one.cause for one in wrong_stages}
    found: dict[str | None, str] = {}
    for one in _observations(evidence, responses, causes):
        if one.cause not in expect:
            found.setdefault(one.cause, one.evidence)
    if not found and not wrong_stages and (unexplained := _unexplained(evidence, accepted)) is not None:
        found[None] = unexplained
    if not found:
        if not evidence.responses:
            return unmeasured("conduct", "no call brought images"), []
        return ok("conduct", "the result depends on the arguments alone", EXPECTED), []
    listed = [Observation(cause, text) for cause, text in found.items()]
    cause, text = next(iter(found.items()))
    more = f"; and {', '.join(one.cause or 'more' for one in listed[1:])}" if len(listed) > 1 else ""
    fix = "" if cause else "compare gradient and step at these pixels with those of rf.fgsm"
    return wrong("conduct", cause, f"{text}{more}", EXPECTED, fix), listed


def harmless_observations(evidence: Evidence, responses: Sequence[Response], expect: Collection[str] = ()) -> list[Observation]:
    """Return what leaves the images right, or wrong by float32 rounding only, each kind once."""
    found: dict[str, str] = {}
    if (again := needs_new_tensor(evidence)) is not None and "stale-gradient" not in expect:
        found["stale-gradient"] = (
            f"{_share_text(again)} if one tensor is attacked again with other labels: pass a new tensor to each call"
        )
    for response in responses:
        for cause, text in (*response.observed.side_effects.items(), *response.harmless.items()):
            if cause in HARMLESS_IDS and cause not in expect:
                found.setdefault(cause, f"in call `{response.name}` {text}")
    return [Observation(cause, text) for cause, text in found.items()]


def _observations(evidence: Evidence, responses: Sequence[Response], causes: Collection[str | None]) -> Iterator[Observation]:
    yield from side_effects(evidence, responses, causes)
    yield from _state(evidence)
    if not any(
        one.dtype in HALF and one.requires_gradient for r in evidence.responses.values() for one in r.observed.forward_passes
    ):
        yield from _coupling(evidence, causes)
    if not causes:
        yield from _hooks(evidence)


def side_effects(evidence: Evidence, responses: Sequence[Response], causes: Collection[str | None]) -> Iterator[Observation]:
    """Find what the calls leave behind, and calls of the network in another mode, in half precision or not at all."""
    for response in responses:
        for cause, text in response.observed.side_effects.items():
            if cause not in HARMLESS_IDS:
                yield Observation(cause, f"in call `{response.name}` {text}")
    trained = next((r for r in responses if any(p.training and p.requires_gradient for p in r.observed.forward_passes)), None)
    if trained is not None:
        yield Observation("train-mode", f"in call `{trained.name}` the gradient is taken in train mode")
    halves = [p for r in evidence.responses.values() for p in r.observed.forward_passes if p.dtype in HALF and p.requires_gradient]
    if halves and "half-precision" not in causes and any(not r.is_right for r in evidence.responses.values()):
        yield Observation("half-precision", f"the network is called with {str(halves[0].dtype).removeprefix('torch.')}")
    if evidence.responses and not any(r.observed.forward_passes for r in evidence.responses.values()):
        yield Observation("other-weights", "the given network is never called")
    yield from _seeds(evidence)


def _seeds(evidence: Evidence) -> Iterator[Observation]:
    """Find a candidate that seeds the global generators: their state afterwards does not depend on that before."""
    one, other = (evidence.get(name) for name in ("rows, repeated at once", "rows, other seed"))
    if one is None or other is None:
        return
    states = [response.observed.generator_states for response in (one, other)]
    seeded = sorted(name for name, state in states[0].items() if states[1].get(name) == state)
    if seeded:
        yield Observation("reseeds-generator", f"the global generator of {', '.join(seeded)} is in the same state after every call")


def _state(evidence: Evidence) -> Iterator[Observation]:
    """Find results that depend on earlier calls."""
    first, repeated, at_once = (evidence.get(name) for name in ("rows", "rows, repeated", "rows, repeated at once"))
    if first is not None and repeated is not None and at_once is not None and not evidence.is_random:
        apart = max(float((one.moved - first.moved).abs().max()) for one in (repeated, at_once))
        if apart > evidence.width:
            yield Observation("stale-gradient", f"the same call gives images {apart:.3g} apart after other calls")
    other = evidence.get("rows, other images")
    if first is not None and other is not None and first.is_right and not other.is_right and not evidence.is_random:
        seen = (first.moved != 0) & (other.moved != 0)
        if bool(seen.any()) and float((first.moved.sign() == other.moved.sign())[seen].float().mean()) > MIN_SHARE:
            yield Observation("stale-gradient", "other images move along the gradient of the first call")
    network = evidence.get("other network")
    if network is not None and first is not None and first.is_right and not network.is_right:
        yield Observation("other-weights", f"right on the first network, {_share_text(network)} on another of the same shape")
    start = evidence.get("one tensor")
    for name, cause, text in (
        ("one tensor, other budget", "accumulated-epsilon", "if one tensor is attacked at two budgets"),
        ("one tensor, other labels", "stale-gradient", "if one tensor is attacked again with other labels"),
    ):
        again = evidence.get(name)
        if start is None or again is None or not start.is_right or again.is_right:
            continue
        if again is not needs_new_tensor(evidence):
            yield Observation(cause, f"{_share_text(again)} {text}")


def needs_new_tensor(evidence: Evidence) -> Response | None:
    """Return the call in which old gradients of the caller's tensor count, if the candidate clears the network's gradients.

    Such a candidate is right for each new tensor. One that clears no gradients at all is not.
    """
    response = evidence.get("one tensor, other labels")
    if response is None or response.is_right or not _is_right(evidence, "one tensor"):
        return None
    left = response.observed.side_effects.get("parameter-gradients-left", "adds up")
    return None if "adds up" in left else response


def _is_right(evidence: Evidence, name: str) -> bool:
    response = evidence.get(name)
    return response is not None and response.is_right


def _share_text(response: Response) -> str:
    return f"{100 * float(response.wrong.float().mean()):.1f} % of the pixels are wrong"


def _coupling(evidence: Evidence, causes: Collection[str | None]) -> Iterator[Observation]:
    """Find results that depend on the other images of the batch."""
    first, changed, alone = (evidence.get(name) for name in ("rows", "rows, other neighbours", "rows, one image"))
    if first is None or evidence.is_random or not BATCH_CAUSES.isdisjoint(causes):
        return
    if changed is not None:
        half = len(first.call.x) // 2
        apart = float((first.moved[:half] - changed.moved[:half]).abs().max())
        if apart > evidence.width:
            yield Observation("batch-coupled", f"an image comes back {apart:.3g} apart if other images of its batch change")
            return
    if alone is not None:
        apart = float((first.moved[1:2] - alone.moved).abs().max())
        if apart > evidence.width:
            yield Observation("batch-coupled", f"an image comes back {apart:.3g} apart if it is alone in its batch")


def _hooks(evidence: Evidence) -> Iterator[Observation]:
    """Find guided backpropagation on the convolutional network."""
    response = evidence.get("convolutional")
    if response is None or response.is_right or response.images is None:
        return
    call = response.call
    gradient, _ = input_gradient(guided_copy(call.model), call.x, call.y, cross_entropy)
    if float(((step_along(call, gradient.sign()) - response.images).abs() <= evidence.width).float().mean()) > 0.98:
        yield Observation("backward-hook", "the images are those of guided backpropagation")


def _unexplained(evidence: Evidence, accepted: Collection[str]) -> str | None:
    """Return which calls brought wrong pixels; None if no call did, or if what is accepted explains them.

    What is accepted at another stage than size and clip leaves images within budget and bounds.
    """
    if not {"size", "clip"}.isdisjoint(accepted):
        return None
    excused = needs_new_tensor(evidence)
    wrong_calls = [one for one in evidence.responses.values() if not one.is_right and one is not excused]
    if accepted:
        wrong_calls = [one for one in wrong_calls if not _keeps_budget(one, evidence.width)]
    if not wrong_calls:
        return None
    most = max(wrong_calls, key=lambda response: float(response.wrong.float().mean()))
    names = ", ".join(f"`{response.name}`" for response in wrong_calls[:4])
    return f"{_share_text(most)} in call `{most.name}`; wrong calls: {names}"


def _keeps_budget(response: Response, width: float) -> bool:
    """Return True if all pixels that count are within epsilon of the given ones, and within the bounds."""
    images, (low, high) = response.call.x + response.moved, response.call.bounds.limits
    keeps = (response.moved.abs() <= response.call.epsilon + width) & (images >= low - width) & (images <= high + width)
    return bool((keeps | ~response.decidable).all())
