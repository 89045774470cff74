"""All that speaks against a candidate: the mistakes that its images show, and those that were seen on its calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from robustbench_fgsm.spec import TOLERANCE
from robustbench_fgsm.variants.catalogue import BY_ID, HARMLESS, Finding
from robustbench_fgsm.variants.recipe import Kitchen
from robustbench_fgsm.verification.diagnosis import Trial, named, pair_matches, single_matches, unknown
from robustbench_fgsm.verification.hints import hints, measures

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
