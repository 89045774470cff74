"""All that speaks against a candidate: the mistakes that its images show, and those that were seen on its calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from robustbench_fgsm.spec import AGREEMENT_TOLERANCE
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID, Finding
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification.diagnosis import (
    JudgedCall,
    match_mistake_pairs,
    match_single_mistakes,
    matches_to_findings,
    unknown_mistake_finding,
)

if TYPE_CHECKING:
    from robustbench_fgsm.verification.case_result import CaseResult
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.call_recorder import CallRecorder
from robustbench_fgsm.verification.sandbox import ObservedCall

if TYPE_CHECKING:
    from robustbench_fgsm.verification.case_result import CaseResult


def is_expected_random_start(judged_call: JudgedCall, expect: Collection[str]) -> bool:
    """Whether images are within epsilon and the bounds, which is all that can be asked where a random start is meant."""
    if "random-start" not in expect:
        return False
    scene, moved = judged_call.attack_call, (judged_call.images - judged_call.attack_call.x).abs()
    low, high = scene.bounds
    inside = (judged_call.images >= low - AGREEMENT_TOLERANCE) & (judged_call.images <= high + AGREEMENT_TOLERANCE)
    return bool((inside & (moved <= scene.epsilon + AGREEMENT_TOLERANCE)).all())


def collect_findings(
    recipe_runner: RecipeRunner, results: Sequence[CaseResult], expect: Collection[str], *, quick: bool = False
) -> list[Finding]:
    """What is wrong, the mistakes that explain the images first; empty where nothing is. quick: as for `single_matches`."""
    if all(result.passed for result in results):
        return []
    effects = {name: text for name, text in _side_effects(results) if name not in HARMLESS_IDS and name not in expect}
    wrong = [trial for result in results for trial in result.wrong_calls]
    explained = _image_findings(recipe_runner, _calls_to_explain(results, wrong), quick=quick) if wrong else []
    also_seen = effects if explained else {**_hints_by_id(results, bool(wrong)), **effects}
    found = [_observed_finding(name, text) for name, text in effects.items() if name == "mutates-input"] + explained
    known = {name for finding in found for name in (finding.cause, *finding.also)}
    found += [_observed_finding(name, text) for name, text in also_seen.items() if name not in known]
    if wrong and not found:
        found = [unknown_mistake_finding(recipe_runner, wrong)]
    return [*found, *_failure_findings(results)]


def _image_findings(recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], *, quick: bool) -> list[Finding]:
    """One mistake, or what can be measured, or two mistakes: what explains all that is wrong, or nothing."""
    if single := match_single_mistakes(recipe_runner, judged_calls, quick=quick):
        return matches_to_findings(single)
    if measured := dict(measured_mistakes(judged_calls)):
        return [_observed_finding(name, text) for name, text in measured.items()]
    return matches_to_findings(match_mistake_pairs(recipe_runner, judged_calls, quick=quick))


def _calls_to_explain(results: Sequence[CaseResult], wrong_calls: Sequence[JudgedCall]) -> list[JudgedCall]:
    """Calls to be explained: those where every pixel counts, and others only where nothing is wrong in these."""
    exact = [trial for result in results for trial in result.judged_calls if result.case.rule == "exact"]
    others = [trial for result in results for trial in result.judged_calls if result.case.rule != "exact"]
    return exact if any(trial is one for trial in exact for one in wrong_calls) else others


def _hints_by_id(results: Sequence[CaseResult], wrong: bool) -> dict[str, str]:
    """What calls hint at; where no images came back that are wrong, only why none came back."""
    found: dict[str, str] = {}
    for name, text in hinted_mistakes(results):
        found.setdefault(name, text)
    return found if wrong else {name: text for name, text in found.items() if name == "misaligned-images"}


def harmless_findings(results: Sequence[CaseResult], expect: Collection[str]) -> list[Finding]:
    """Mistakes that leave the images right, or wrong where float32 has no right ones."""
    found = {name: text for name, text in _side_effects(results) if name in HARMLESS_IDS}
    for result in results:
        for trial in result.judged_calls if result.passed else ():
            found |= trial.judgement.harmless_mistakes
    found |= {name: "it was said to be meant" for name, _ in hinted_mistakes(results) if name in expect}
    return [_observed_finding(name, text) for name, text in found.items() if name not in expect or name == "random-start"]


def _observed_finding(name: str, text: str) -> Finding:
    return Finding(name, f"{MISTAKE_BY_ID[name].summary}: {text}", MISTAKE_BY_ID[name].remedy)


def _side_effects(results: Sequence[CaseResult]) -> Iterator[tuple[str, str]]:
    for result in results:
        for seen in result.observed_calls:
            for name, text in seen.side_effects.items():
                yield name, f"in case {result.case.name} {text}"


def _failure_findings(results: Sequence[CaseResult]) -> Iterator[Finding]:
    """Calls that gave no images, each kind once."""
    told: dict[str, str] = {}
    for result in results:
        for seen in result.observed_calls:
            if seen.failure:
                told.setdefault(seen.failure, result.case.name)
    for failure, case in told.items():
        cause = "time-limit" if failure.startswith("takes") else "raises" if failure.startswith("raises") else "wrong-result"
        yield Finding(
            cause, f"in case {case} it {failure if cause != 'wrong-result' else f'gave {failure}'}", _FAILURE_REMEDIES[cause]
        )


_FAILURE_REMEDIES = {
    "time-limit": "return in time, or raise the limit with --time-limit",
    "raises": "run the candidate on that case alone, with --case and --debug",
    "wrong-result": "return one float tensor or array in the shape of x, with finite numbers",
}


HALF_DTYPES = (torch.float16, torch.bfloat16)


OTHER_INPUT_DISTANCE = 1e-4
"""An input of the network so far from the images is another one."""


EQUAL_STEP_TOLERANCE = 1e-3
"""Steps whose sizes differ by less are of one size."""


def hinted_mistakes(results: Sequence[CaseResult]) -> Iterator[tuple[str, str]]:
    """Ids of mistakes and what speaks for them; an id may come more than once."""
    for result in results:
        where = f"in case {result.case.name}"
        for seen, scene in zip(result.observed_calls, result.case.calls, strict=False):
            yield from ((name, f"{where} {text}") for name, text in _shape_hints(seen, scene))
            network = getattr(scene.model, "network", None)
            if not seen.failure and isinstance(network, CallRecorder):
                yield from ((name, f"{where} {text}") for name, text in _forward_pass_hints(seen, network))
        yield from ((name, f"{where} {text}") for name, text in _repetition_hints(result))


def _shape_hints(observed_call: ObservedCall, attack_call: AttackCall) -> Iterator[tuple[str, str]]:
    if isinstance(observed_call.returned, Tensor) and observed_call.returned.shape[1:] == attack_call.x.shape[1:]:
        got, given = len(observed_call.returned), len(attack_call.x)
        if got < given:
            yield "misaligned-images", f"{got} of {given} images come back"


def _forward_pass_hints(observed_call: ObservedCall, network: CallRecorder) -> Iterator[tuple[str, str]]:
    if not observed_call.forward_passes:
        yield "other-weights", "the given network is never called"
        return
    own = network.body_weight_sum()
    sums = [
        step.weight_sum for step in observed_call.forward_passes if step.weight_sum is not None and step.dtype not in HALF_DTYPES
    ]
    if own and any(abs(total - own) > 1e-9 * own for total in sums):
        yield "other-weights", "it is called with other weights than it was given"
    if any(step.training and step.requires_gradient for step in observed_call.forward_passes):
        yield "train-mode", "the network is called in train mode"
    if any(step.dtype in HALF_DTYPES for step in observed_call.forward_passes):
        yield "half-precision", f"the network is called with {observed_call.forward_passes[0].dtype}"
    distances = [step.input_distance for step in observed_call.forward_passes if step.input_distance is not None]
    if _first_input_differs(observed_call) and "global-rng" in observed_call.side_effects:
        yield "random-start", f"the network is first called {distances[0]:.3g} away from the images"
    elif len({round(distance, 6) for distance in distances}) > 2:
        yield "iterated", f"the network is called at {len(distances)} points, up to {max(distances):.3g} away"


def _first_input_differs(observed_call: ObservedCall) -> bool:
    """Whether the first forward pass is of other images than those that were handed over."""
    first = next((step.input_distance for step in observed_call.forward_passes if step.input_distance is not None), 0.0)
    return first > OTHER_INPUT_DISTANCE


def _repetition_hints(result: CaseResult) -> Iterator[tuple[str, str]]:
    """The same call twice, and the same images in other batches."""
    trials = result.judged_calls
    changed = any({"statistics-drift", "changes-model"} & seen.side_effects.keys() for seen in result.observed_calls)
    drawn = any(_first_input_differs(seen) or "global-rng" in seen.side_effects for seen in result.observed_calls)
    for index, one in enumerate(trials):
        for other in trials[index + 1 :]:
            apart = float((one.images - other.images).abs().max()) if _same_call(one.attack_call, other.attack_call) else 0.0
            if apart > AGREEMENT_TOLERANCE and not changed:
                name = "random-start" if drawn else "stale-gradient"
                yield name, f"the same call twice gives images {apart:.3g} apart"
    if result.case.name == "split" and len(trials) == 3:
        parts = torch.cat([trial.images for trial in trials[1:]])
        apart = float((trials[0].images - parts).abs().max())
        if apart > AGREEMENT_TOLERANCE:
            yield "batch-coupled", f"the same images in two batches come back {apart:.3g} apart"


def _same_call(one: AttackCall, other: AttackCall) -> bool:
    same = one.model is other.model and one.epsilon == other.epsilon and one.targeted == other.targeted
    return same and torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


def measured_mistakes(judged_calls: Sequence[JudgedCall]) -> Iterator[tuple[str, str]]:
    """What is wrong with all calls at once, as far as it can be read off their images."""
    sizes = [size for trial in judged_calls if (size := _step_size(trial)) is not None]
    if len(sizes) == len(judged_calls):
        shares = [size / trial.attack_call.epsilon for size, trial in zip(sizes, judged_calls, strict=True)]
        if max(shares) - min(shares) < EQUAL_STEP_TOLERANCE and abs(shares[0] - 1) > EQUAL_STEP_TOLERANCE:
            yield "wrong-epsilon", f"every step is {shares[0]:.4g} times epsilon"
        elif max(sizes) - min(sizes) < EQUAL_STEP_TOLERANCE * sizes[0]:
            yield "wrong-epsilon", f"every step is {sizes[0]:.4g}, whatever epsilon is"
    orders = [_image_order(trial) for trial in judged_calls]
    moved = [order for order in orders if order and order != sorted(order)]
    if moved and all(orders):
        yield "misaligned-images", f"the images of one call come back in the order {', '.join(map(str, moved[0]))}"


def _image_order(judged_call: JudgedCall) -> list[int]:
    """For each image that came back, which right image it is; empty where it is none, or the same as another."""
    near = (judged_call.images.unsqueeze(1) - judged_call.judgement.expected).abs() <= AGREEMENT_TOLERANCE
    right = (near | ~judged_call.judgement.decidable).flatten(2).all(2)  # (image that came back, image that was due)
    order: list[int] = right.int().argmax(1).tolist()
    return order if bool(right.any(1).all()) and len(set(order)) == len(order) else []


def _step_size(judged_call: JudgedCall) -> float | None:
    """The size of all steps of one call that no bound cut short; None where they go another way or differ."""
    scene, (low, high) = judged_call.attack_call, judged_call.attack_call.bounds
    due, moved = judged_call.judgement.expected - scene.x, judged_call.images - scene.x
    inside = (judged_call.images > low) & (judged_call.images < high) & judged_call.judgement.decidable & (due != 0)
    steps = (moved * due.sign())[inside]
    if not len(steps) or float(steps.min()) <= 0 or float(steps.max() - steps.min()) > EQUAL_STEP_TOLERANCE * float(steps.max()):
        return None
    return float(steps.max())
