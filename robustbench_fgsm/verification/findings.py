"""All that speaks against a candidate: the mistakes that its images show, and those that were seen on its calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from robustbench_fgsm.spec import TOLERANCE
from robustbench_fgsm.variants.catalogue import BY_ID, HARMLESS, Finding
from robustbench_fgsm.variants.recipe import Kitchen
from robustbench_fgsm.verification.diagnosis import Trial, named, pair_matches, single_matches, unknown

if TYPE_CHECKING:
    from robustbench_fgsm.verification.case_result import CaseResult
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_fgsm.variants.attack_call import Scene
from robustbench_fgsm.verification.call_recorder import Probe
from robustbench_fgsm.verification.sandbox import Observation

if TYPE_CHECKING:
    from robustbench_fgsm.verification.case_result import CaseResult


def as_expected(trial: Trial, expect: Collection[str]) -> bool:
    """Whether images are within epsilon and the bounds, which is all that can be asked where a random start is meant."""
    if "random-start" not in expect:
        return False
    scene, moved = trial.scene, (trial.images - trial.scene.x).abs()
    low, high = scene.bounds
    inside = (trial.images >= low - TOLERANCE) & (trial.images <= high + TOLERANCE)
    return bool((inside & (moved <= scene.epsilon + TOLERANCE)).all())


def findings(
    kitchen: Kitchen, results: Sequence[CaseResult], expect: Collection[str], *, quick: bool = False
) -> list[Finding]:
    """What is wrong, the mistakes that explain the images first; empty where nothing is. quick: as for `single_matches`."""
    if all(result.passed for result in results):
        return []
    effects = {name: text for name, text in _side_effects(results) if name not in HARMLESS and name not in expect}
    wrong = [trial for result in results for trial in result.wrong]
    explained = _explained(kitchen, _telling(results, wrong), quick=quick) if wrong else []
    also_seen = effects if explained else {**_unexplained(results, bool(wrong)), **effects}
    found = [_seen(name, text) for name, text in effects.items() if name == "mutates-input"] + explained
    known = {name for finding in found for name in (finding.cause, *finding.also)}
    found += [_seen(name, text) for name, text in also_seen.items() if name not in known]
    if wrong and not found:
        found = [unknown(kitchen, wrong)]
    return [*found, *_failures(results)]


def _explained(kitchen: Kitchen, trials: Sequence[Trial], *, quick: bool) -> list[Finding]:
    """One mistake, or what can be measured, or two mistakes: what explains all that is wrong, or nothing."""
    if single := single_matches(kitchen, trials, quick=quick):
        return named(single)
    if measured := dict(measures(trials)):
        return [_seen(name, text) for name, text in measured.items()]
    return named(pair_matches(kitchen, trials, quick=quick))


def _telling(results: Sequence[CaseResult], wrong: Sequence[Trial]) -> list[Trial]:
    """Calls to be explained: those where every pixel counts, and others only where nothing is wrong in these."""
    exact = [trial for result in results for trial in result.trials if result.case.rule == "exact"]
    others = [trial for result in results for trial in result.trials if result.case.rule != "exact"]
    return exact if any(trial is one for trial in exact for one in wrong) else others


def _unexplained(results: Sequence[CaseResult], wrong: bool) -> dict[str, str]:
    """What calls hint at; where no images came back that are wrong, only why none came back."""
    found: dict[str, str] = {}
    for name, text in hints(results):
        found.setdefault(name, text)
    return found if wrong else {name: text for name, text in found.items() if name == "misaligned-images"}


def harmless(results: Sequence[CaseResult], expect: Collection[str]) -> list[Finding]:
    """Mistakes that leave the images right, or wrong where float32 has no right ones."""
    found = {name: text for name, text in _side_effects(results) if name in HARMLESS}
    for result in results:
        for trial in result.trials if result.passed else ():
            found |= trial.judgement.doubts
    found |= {name: "it was said to be meant" for name, _ in hints(results) if name in expect}
    return [_seen(name, text) for name, text in found.items() if name not in expect or name == "random-start"]


def _seen(name: str, text: str) -> Finding:
    return Finding(name, f"{BY_ID[name].summary}: {text}", BY_ID[name].remedy)


def _side_effects(results: Sequence[CaseResult]) -> Iterator[tuple[str, str]]:
    for result in results:
        for seen in result.observations:
            for name, text in seen.side_effects.items():
                yield name, f"in case {result.case.name} {text}"


def _failures(results: Sequence[CaseResult]) -> Iterator[Finding]:
    """Calls that gave no images, each kind once."""
    told: dict[str, str] = {}
    for result in results:
        for seen in result.observations:
            if seen.failure:
                told.setdefault(seen.failure, result.case.name)
    for failure, case in told.items():
        cause = (
            "time-limit"
            if failure.startswith("takes")
            else "raises"
            if failure.startswith("raises")
            else "wrong-result"
        )
        yield Finding(
            cause, f"in case {case} it {failure if cause != 'wrong-result' else f'gave {failure}'}", _REMEDIES[cause]
        )


_REMEDIES = {
    "time-limit": "return in time, or raise the limit with --time-limit",
    "raises": "run the candidate on that case alone, with --case and --debug",
    "wrong-result": "return one float tensor or array in the shape of x, with finite numbers",
}


HALF = (torch.float16, torch.bfloat16)


ASIDE = 1e-4
"""An input of the network so far from the images is another one."""


CONSTANT = 1e-3
"""Steps whose sizes differ by less are of one size."""


def hints(results: Sequence[CaseResult]) -> Iterator[tuple[str, str]]:
    """Ids of mistakes and what speaks for them; an id may come more than once."""
    for result in results:
        where = f"in case {result.case.name}"
        for seen, scene in zip(result.observations, result.case.scenes, strict=False):
            yield from ((name, f"{where} {text}") for name, text in _of_shape(seen, scene))
            network = getattr(scene.model, "network", None)
            if not seen.failure and isinstance(network, Probe):
                yield from ((name, f"{where} {text}") for name, text in _of_passes(seen, network))
        yield from ((name, f"{where} {text}") for name, text in _of_repetition(result))


def _of_shape(seen: Observation, scene: Scene) -> Iterator[tuple[str, str]]:
    if isinstance(seen.returned, Tensor) and seen.returned.shape[1:] == scene.x.shape[1:]:
        got, given = len(seen.returned), len(scene.x)
        if got < given:
            yield "misaligned-images", f"{got} of {given} images come back"


def _of_passes(seen: Observation, network: Probe) -> Iterator[tuple[str, str]]:
    if not seen.passes:
        yield "other-weights", "the given network is never called"
        return
    own = network.weights()
    sums = [step.weights for step in seen.passes if step.weights is not None and step.dtype not in HALF]
    if own and any(abs(total - own) > 1e-9 * own for total in sums):
        yield "other-weights", "it is called with other weights than it was given"
    if any(step.training and step.gradient for step in seen.passes):
        yield "train-mode", "the network is called in train mode"
    if any(step.dtype in HALF for step in seen.passes):
        yield "half-precision", f"the network is called with {seen.passes[0].dtype}"
    distances = [step.distance for step in seen.passes if step.distance is not None]
    if _aside(seen) and "global-rng" in seen.side_effects:
        yield "random-start", f"the network is first called {distances[0]:.3g} away from the images"
    elif len({round(distance, 6) for distance in distances}) > 2:
        yield "iterated", f"the network is called at {len(distances)} points, up to {max(distances):.3g} away"


def _aside(seen: Observation) -> bool:
    """Whether the first forward pass is of other images than those that were handed over."""
    first = next((step.distance for step in seen.passes if step.distance is not None), 0.0)
    return first > ASIDE


def _of_repetition(result: CaseResult) -> Iterator[tuple[str, str]]:
    """The same call twice, and the same images in other batches."""
    trials = result.trials
    changed = any({"statistics-drift", "changes-model"} & seen.side_effects.keys() for seen in result.observations)
    drawn = any(_aside(seen) or "global-rng" in seen.side_effects for seen in result.observations)
    for index, one in enumerate(trials):
        for other in trials[index + 1 :]:
            apart = float((one.images - other.images).abs().max()) if _same_call(one.scene, other.scene) else 0.0
            if apart > TOLERANCE and not changed:
                name = "random-start" if drawn else "stale-gradient"
                yield name, f"the same call twice gives images {apart:.3g} apart"
    if result.case.name == "split" and len(trials) == 3:
        parts = torch.cat([trial.images for trial in trials[1:]])
        apart = float((trials[0].images - parts).abs().max())
        if apart > TOLERANCE:
            yield "batch-coupled", f"the same images in two batches come back {apart:.3g} apart"


def _same_call(one: Scene, other: Scene) -> bool:
    same = one.model is other.model and one.epsilon == other.epsilon and one.targeted == other.targeted
    return same and torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


def measures(trials: Sequence[Trial]) -> Iterator[tuple[str, str]]:
    """What is wrong with all calls at once, as far as it can be read off their images."""
    sizes = [size for trial in trials if (size := _step_size(trial)) is not None]
    if len(sizes) == len(trials):
        shares = [size / trial.scene.epsilon for size, trial in zip(sizes, trials, strict=True)]
        if max(shares) - min(shares) < CONSTANT and abs(shares[0] - 1) > CONSTANT:
            yield "wrong-epsilon", f"every step is {shares[0]:.4g} times epsilon"
        elif max(sizes) - min(sizes) < CONSTANT * sizes[0]:
            yield "wrong-epsilon", f"every step is {sizes[0]:.4g}, whatever epsilon is"
    orders = [_order(trial) for trial in trials]
    moved = [order for order in orders if order and order != sorted(order)]
    if moved and all(orders):
        yield "misaligned-images", f"the images of one call come back in the order {', '.join(map(str, moved[0]))}"


def _order(trial: Trial) -> list[int]:
    """For each image that came back, which right image it is; empty where it is none, or the same as another."""
    near = (trial.images.unsqueeze(1) - trial.judgement.expected).abs() <= TOLERANCE
    right = (near | ~trial.judgement.decided).flatten(2).all(2)  # (image that came back, image that was due)
    order: list[int] = right.int().argmax(1).tolist()
    return order if bool(right.any(1).all()) and len(set(order)) == len(order) else []


def _step_size(trial: Trial) -> float | None:
    """The size of all steps of one call that no bound cut short; None where they go another way or differ."""
    scene, (low, high) = trial.scene, trial.scene.bounds
    due, moved = trial.judgement.expected - scene.x, trial.images - scene.x
    inside = (trial.images > low) & (trial.images < high) & trial.judgement.decided & (due != 0)
    steps = (moved * due.sign())[inside]
    if not len(steps) or float(steps.min()) <= 0 or float(steps.max() - steps.min()) > CONSTANT * float(steps.max()):
        return None
    return float(steps.max())
