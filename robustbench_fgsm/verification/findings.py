"""Everything that is wrong with a candidate: mistakes that its images show, and mistakes that its calls show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from robustbench_fgsm.spec import AGREEMENT_TOLERANCE
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, Finding
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification.call_recorder import CallRecorder, weight_sum
from robustbench_fgsm.verification.diagnosis import match_mistakes, matches_to_findings, unknown_mistake_finding
from robustbench_fgsm.verification.judge import JudgedCall
from robustbench_fgsm.verification.result import CaseResult
from robustbench_fgsm.verification.sandbox import ObservedCall

HALF_DTYPES = (torch.float16, torch.bfloat16)

OTHER_INPUT_DISTANCE = 1e-4
"""An input of the network that is farther from the images is another input."""

EQUAL_STEP_TOLERANCE = 1e-3
"""Largest relative difference of two equal step sizes."""

FAILURE_REMEDIES = {
    "time-limit": "return in time, or raise the limit with --time-limit",
    "raises": "run the candidate on that case alone, with --case and --debug",
    "wrong-result": "return one float tensor or array in the shape of x, with finite numbers",
}

MistakeEvidence = tuple[str, str]
"""Id of a mistake, and what shows it."""


def collect_findings(
    recipe_runner: RecipeRunner, results: Sequence[CaseResult], expect: Collection[str] = (), *, quick: bool = False
) -> list[Finding]:
    """Return what is wrong, first the mistakes that explain the images; empty if every case passed."""
    if all(result.passed for result in results):
        return []
    effects = {name: text for name, text in _side_effects(results) if name not in HARMLESS_IDS and name not in expect}
    wrong = [judged for result in results for judged in result.wrong_calls]
    explained = _image_findings(recipe_runner, _calls_to_explain(results), quick=quick) if wrong else []
    seen_on_calls = effects if explained else {**_first_hints(results, any_wrong=bool(wrong)), **effects}
    found = [Finding.of_mistake(name, text) for name, text in effects.items() if name == "mutates-input"] + explained
    known = {name for finding in found for name in (finding.cause, *finding.also)}
    found += [Finding.of_mistake(name, text) for name, text in seen_on_calls.items() if name not in known]
    if wrong and not found:
        found = [unknown_mistake_finding(recipe_runner, wrong)]
    return [*found, *_failure_findings(results)]


def harmless_findings(results: Sequence[CaseResult], expect: Collection[str]) -> list[Finding]:
    """Return the mistakes that leave the images right, or wrong by float32 rounding only."""
    found = {name: text for name, text in _side_effects(results) if name in HARMLESS_IDS}
    for result in results:
        for judged in result.judged_calls if result.passed else ():
            found |= judged.harmless_mistakes
    found |= {name: "it is expected" for name, _ in hinted_mistakes(results) if name in expect}
    return [Finding.of_mistake(name, text) for name, text in found.items() if name not in expect or name == "random-start"]


def _image_findings(recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], *, quick: bool) -> list[Finding]:
    """Return one mistake, or what can be measured, or two mistakes, if this explains every wrong image."""
    if single := match_mistakes(recipe_runner, judged_calls, quick=quick):
        return matches_to_findings(single)
    if measured := dict(measured_mistakes(judged_calls)):
        return [Finding.of_mistake(name, text) for name, text in measured.items()]
    return matches_to_findings(match_mistakes(recipe_runner, judged_calls, pairs=True, quick=quick))


def _calls_to_explain(results: Sequence[CaseResult]) -> list[JudgedCall]:
    """Return the calls of the cases in which every pixel counts if one of these calls is wrong, else the other calls."""
    exact = any(result.wrong_calls and result.case.rule == "exact" for result in results)
    return [judged for result in results if (result.case.rule == "exact") == exact for judged in result.judged_calls]


def _side_effects(results: Sequence[CaseResult]) -> Iterator[MistakeEvidence]:
    for result in results:
        for observed in result.observed_calls:
            for name, text in observed.side_effects.items():
                yield name, f"in case {result.case.name} {text}"


def _failure_findings(results: Sequence[CaseResult]) -> Iterator[Finding]:
    """Yield each kind of failure once."""
    first_case: dict[str, str] = {}
    for result in results:
        for observed in result.observed_calls:
            if observed.failure:
                first_case.setdefault(observed.failure, result.case.name)
    for failure, case in first_case.items():
        cause = "time-limit" if failure.startswith("takes") else "raises" if failure.startswith("raises") else "wrong-result"
        shown = f"gave {failure}" if cause == "wrong-result" else failure
        yield Finding(cause, f"in case {case} it {shown}", FAILURE_REMEDIES[cause])


def _first_hints(results: Sequence[CaseResult], *, any_wrong: bool) -> dict[str, str]:
    """Return the first hint at each mistake; if no images are wrong, only why images are missing."""
    found: dict[str, str] = {}
    for name, text in hinted_mistakes(results):
        if any_wrong or name == "misaligned-images":
            found.setdefault(name, text)
    return found


def hinted_mistakes(results: Sequence[CaseResult]) -> Iterator[MistakeEvidence]:
    """Yield the mistakes that the calls hint at; an id may come several times."""
    for result in results:
        hints: list[MistakeEvidence] = []
        for observed, call in zip(result.observed_calls, result.case.calls, strict=False):
            hints += _shape_hints(observed, call)
            network = getattr(call.model, "network", None)
            if not observed.failure and isinstance(network, CallRecorder):
                hints += _forward_pass_hints(observed, network)
        for name, text in (*hints, *_repetition_hints(result)):
            yield name, f"in case {result.case.name} {text}"


def _shape_hints(observed: ObservedCall, call: AttackCall) -> Iterator[MistakeEvidence]:
    if isinstance(observed.returned, Tensor) and observed.returned.shape[1:] == call.x.shape[1:]:
        got, given = len(observed.returned), len(call.x)
        if got < given:
            yield "misaligned-images", f"{got} of {given} images come back"


def _forward_pass_hints(observed: ObservedCall, network: CallRecorder) -> Iterator[MistakeEvidence]:
    passes, own = observed.forward_passes, weight_sum(network.body)
    if not passes:
        yield "other-weights", "the given network is never called"
        return
    sums = [one.weight_sum for one in passes if one.weight_sum is not None and one.dtype not in HALF_DTYPES]
    if own and any(abs(total - own) > 1e-9 * own for total in sums):
        yield "other-weights", "the network is called with other weights than the given weights"
    if any(one.training and one.requires_gradient for one in passes):
        yield "train-mode", "the network is called in train mode"
    if any(one.dtype in HALF_DTYPES for one in passes):
        yield "half-precision", f"the network is called with {passes[0].dtype}"
    distances = _input_distances(observed)
    if _first_input_differs(observed) and "global-rng" in observed.side_effects:
        yield "random-start", f"the network is first called {distances[0]:.3g} away from the images"
    elif len({round(distance, 6) for distance in distances}) > 2:
        yield "iterated", f"the network is called at {len(distances)} points, up to {max(distances):.3g} away"


def _input_distances(observed: ObservedCall) -> list[float]:
    return [one.input_distance for one in observed.forward_passes if one.input_distance is not None]


def _first_input_differs(observed: ObservedCall) -> bool:
    """Return True if the first forward pass has other images than the given images."""
    return next(iter(_input_distances(observed)), 0.0) > OTHER_INPUT_DISTANCE


def _repetition_hints(result: CaseResult) -> Iterator[MistakeEvidence]:
    """Compare equal calls, and equal images in other batches."""
    judged_calls = result.judged_calls
    changed = any({"statistics-drift", "changes-model"} & observed.side_effects.keys() for observed in result.observed_calls)
    drawn = any(_first_input_differs(observed) or "global-rng" in observed.side_effects for observed in result.observed_calls)
    for index, one in enumerate(judged_calls):
        for other in judged_calls[index + 1 :]:
            apart = float((one.images - other.images).abs().max()) if _same_call(one.call, other.call) else 0.0
            if apart > AGREEMENT_TOLERANCE and not changed:
                name = "random-start" if drawn else "stale-gradient"
                yield name, f"the same call twice gives images {apart:.3g} apart"
    if result.case.name == "split" and len(judged_calls) == 3:
        parts = torch.cat([judged.images for judged in judged_calls[1:]])
        apart = float((judged_calls[0].images - parts).abs().max())
        if apart > AGREEMENT_TOLERANCE:
            yield "batch-coupled", f"the same images in two batches come back {apart:.3g} apart"


def _same_call(one: AttackCall, other: AttackCall) -> bool:
    same = one.model is other.model and one.epsilon == other.epsilon and one.targeted == other.targeted
    return same and torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


def measured_mistakes(judged_calls: Sequence[JudgedCall]) -> Iterator[MistakeEvidence]:
    """Yield the mistakes of all calls that a measurement of their images shows: step size, and order of images."""
    sizes = [size for judged in judged_calls if (size := _step_size(judged)) is not None]
    if len(sizes) == len(judged_calls):
        shares = [size / judged.call.epsilon for size, judged in zip(sizes, judged_calls, strict=True)]
        if max(shares) - min(shares) < EQUAL_STEP_TOLERANCE and abs(shares[0] - 1) > EQUAL_STEP_TOLERANCE:
            yield "wrong-epsilon", f"every step is {shares[0]:.4g} times epsilon"
        elif max(sizes) - min(sizes) < EQUAL_STEP_TOLERANCE * sizes[0]:
            yield "wrong-epsilon", f"every step is {sizes[0]:.4g}, whatever epsilon is"
    orders = [_image_order(judged) for judged in judged_calls]
    moved = [order for order in orders if order and order != sorted(order)]
    if moved and all(orders):
        yield "misaligned-images", f"the images of one call come back in the order {', '.join(map(str, moved[0]))}"


def _image_order(judged: JudgedCall) -> list[int]:
    """Return the index of the expected image that each returned image equals; empty if these are not a permutation."""
    near = (judged.images.unsqueeze(1) - judged.expected).abs() <= AGREEMENT_TOLERANCE
    right = (near | ~judged.decidable).flatten(2).all(2)  # (returned image, expected image)
    order: list[int] = right.int().argmax(1).tolist()
    return order if bool(right.any(1).all()) and len(set(order)) == len(order) else []


def _step_size(judged: JudgedCall) -> float | None:
    """Return the size of all steps that no bound cut short; None if directions are wrong or sizes differ."""
    low, high = judged.call.bounds
    due, moved = judged.expected - judged.call.x, judged.images - judged.call.x
    inside = (judged.images > low) & (judged.images < high) & judged.decidable & (due != 0)
    steps = (moved * due.sign())[inside]
    if not len(steps) or float(steps.min()) <= 0 or float(steps.max() - steps.min()) > EQUAL_STEP_TOLERANCE * float(steps.max()):
        return None
    return float(steps.max())
