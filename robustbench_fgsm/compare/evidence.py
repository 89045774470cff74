"""All that speaks against a candidate: the mistakes that its images show, and those that were seen on its calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_fgsm.compare.comparison import Finding
from robustbench_fgsm.compare.diagnosis import Trial, matches, named, unknown
from robustbench_fgsm.compare.explanation import TOLERANCE
from robustbench_fgsm.compare.mistakes import BY_ID, HARMLESS
from robustbench_fgsm.compare.probe import Probe
from robustbench_fgsm.compare.recipe import Kitchen

if TYPE_CHECKING:
    from robustbench_fgsm.compare.verification import CaseResult

HALF = (torch.float16, torch.bfloat16)


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
    """What is wrong, the mistakes that explain the images first; empty where nothing is. quick: as for `matches`."""
    if all(result.passed for result in results):
        return []
    trials = [trial for result in results for trial in result.trials if result.case.rule == "exact"]
    wrong = [trial for result in results for trial in result.wrong]
    effects = dict(_side_effects(results))
    found = [_seen(name, text) for name, text in effects.items() if name == "mutates-input" and name not in expect]
    if wrong:
        explained = named(matches(kitchen, trials, quick=quick)) if any(trial in trials for trial in wrong) else []
        found = [*explained, *found] if not found else [*found, *explained]
        if not explained:
            hints = [_seen(name, text) for name, text in dict(_hints(results)).items()]
            found += hints or ([] if found else [unknown(kitchen, wrong)])
    named_already = {name for finding in found for name in (finding.cause, *finding.also)}
    found += [_seen(name, text) for name, text in effects.items() if name not in {*HARMLESS, *expect, *named_already}]
    found += list(_failures(results))
    return found


def harmless(results: Sequence[CaseResult], expect: Collection[str]) -> list[Finding]:
    """Mistakes that leave the images right, or wrong where float32 has no right ones."""
    found = {name: text for name, text in _side_effects(results) if name in HARMLESS}
    for result in results:
        for trial in result.trials if result.passed else ():
            found |= trial.judgement.doubts
    found |= {name: "it was said to be meant" for name, _ in _hints(results) if name in expect}
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


def _hints(results: Sequence[CaseResult]) -> Iterator[tuple[str, str]]:
    """Mistakes that were seen on calls and not in the images, for when no known one explains these."""
    for result in results:
        yield from _hints_of_passes(result)
        shapes = [
            (tuple(seen.returned.shape), scene.x.shape)
            for seen, scene in zip(result.observations, result.case.scenes, strict=False)
            if isinstance(seen.returned, Tensor)
        ]
        for got, given in shapes:
            if len(got) == len(given) and got[1:] == tuple(given[1:]) and got[0] < given[0]:
                yield "misaligned-images", f"in case {result.case.name} {got[0]} of {given[0]} images come back"
        yield from _hints_of_repetition(result)


def _hints_of_passes(result: CaseResult) -> Iterator[tuple[str, str]]:
    where = f"in case {result.case.name}"
    for seen, scene in zip(result.observations, result.case.scenes, strict=False):
        if seen.failure or not hasattr(scene.model, "network"):
            continue
        own = scene.model.network.weights() if isinstance(scene.model.network, Probe) else None
        if own is None:
            continue
        if not seen.passes:
            yield "other-weights", f"{where} the given network is never called"
            continue
        if any(step.weights is not None and abs(step.weights - own) > 1e-9 * own for step in seen.passes):
            yield "other-weights", f"{where} it is called with other weights than it was given"
        if any(step.training for step in seen.passes):
            yield "train-mode", f"{where} the network is called in train mode"
        if any(step.dtype in HALF for step in seen.passes):
            yield "half-precision", f"{where} the network is called with {seen.passes[0].dtype}"
        distances = [step.distance for step in seen.passes if step.distance is not None]
        if distances and distances[0] > 1e-4:
            yield "random-start", f"{where} the network is first called {distances[0]:.3g} away from the images"
        elif len(distances) > 2 and len({round(distance, 6) for distance in distances}) > 2:
            yield (
                "iterated",
                f"{where} the network is called at {len(distances)} points, up to {max(distances):.3g} away",
            )


def _hints_of_repetition(result: CaseResult) -> Iterator[tuple[str, str]]:
    """The same call twice, and the same images in other batches."""
    trials = result.trials
    for index, one in enumerate(trials):
        for other in trials[index + 1 :]:
            same = one.scene.model is other.scene.model and one.scene.epsilon == other.scene.epsilon
            if not same or one.scene.targeted != other.scene.targeted:
                continue
            if torch.equal(one.scene.x, other.scene.x) and torch.equal(one.scene.y, other.scene.y):
                apart = float((one.images - other.images).abs().max())
                if apart > TOLERANCE:
                    yield (
                        "random-start",
                        f"in case {result.case.name} the same call twice gives images {apart:.3g} apart",
                    )
    if result.case.name == "split" and len(trials) == 3:
        parts = torch.cat([trial.images for trial in trials[1:]])
        apart = float((trials[0].images - parts).abs().max())
        if apart > TOLERANCE:
            yield "batch-coupled", f"the same images in two batches come back {apart:.3g} apart"
