"""Measure a candidate on the test bench, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

import torch

from robustbench_fgsm.attack.normalisation import IMAGENET, Normalisation
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.progress import Progress
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.errors import SettingError, describe_error, did_you_mean
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.options import VerifyOptions
from robustbench_fgsm.references.candidate import Candidate, to_candidate
from robustbench_fgsm.references.candidate_styles import has_own_statistics
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID
from robustbench_fgsm.verification.bench_calls import BenchCall, BenchSettings, build_calls
from robustbench_fgsm.verification.check_pixels import Response, respond
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.images import OWN_CALL, read_own_calls
from robustbench_fgsm.verification.limitations import find_limitations, find_normalisation, find_other_style
from robustbench_fgsm.verification.method_bench import build_method_calls
from robustbench_fgsm.verification.methods import FGSM, parse_method
from robustbench_fgsm.verification.read_method import read_method_stages
from robustbench_fgsm.verification.result import Verification
from robustbench_fgsm.verification.sandbox import mark_gradients
from robustbench_fgsm.verification.stage_result import StageResult, accept, wrong
from robustbench_fgsm.verification.stages.clip import read_clip
from robustbench_fgsm.verification.stages.conduct import Observation, harmless_observations, read_conduct
from robustbench_fgsm.verification.stages.direction import read_direction
from robustbench_fgsm.verification.stages.failures import with_failures
from robustbench_fgsm.verification.stages.loss import read_loss
from robustbench_fgsm.verification.stages.output import read_output
from robustbench_fgsm.verification.stages.randomness import read_randomness
from robustbench_fgsm.verification.stages.size import read_size
from robustbench_fgsm.verification.stages.steps import read_steps

IMPORT_ERRORS = (ImportError, FileNotFoundError)


@with_progress_bar
@neutral_settings(generators=True)
def verify(
    candidate: Candidate | Callable[..., object] | str,
    *,
    style: str = VerifyOptions.style,
    cases: Iterable[str] = VerifyOptions.cases,
    extra: Sequence[BenchCall] = (),
    strict: bool = VerifyOptions.strict,
    expect: Collection[str] = VerifyOptions.expect,
    time_limit: float = VerifyOptions.time_limit,
    image_shape: str = VerifyOptions.image_shape,
    classes: int | None = VerifyOptions.classes,
    one_image: bool = VerifyOptions.one_image,
    method: str = VerifyOptions.method,
    norm: str | float = VerifyOptions.norm,
    steps: int | None = VerifyOptions.steps,
    step_size: str = VerifyOptions.step_size,
    random_start: bool = VerifyOptions.random_start,
    progress: ProgressSetting = None,
) -> Verification:
    """Measure what a candidate does at each stage of the attack, and compare it with the definition of the method.

    Args:
        candidate: a callable, `file.py:fn` or `pkg.mod:fn`.
        style: how the candidate is called: `plain`, `torchattacks`, `art`, `foolbox`, `tutorial`, `nhwc` or `normalised`.
        cases: names of the calls to run, such as `size`, which takes `size, tiny` too; all by default.
        extra: calls of your own, which run after those of the test bench.
        strict: count side effects that leave the images right as failures.
        expect: ids of mistakes that do not count, such as `random-start`.
        time_limit: seconds that one call may take, > 0.
        image_shape: `CxHxW` of the images that the candidate takes, with sides of 16 or more; by default `3x32x32` and others.
        classes: number of classes that the candidate takes, >= 2; by default 10, and also 2 and 1,000.
        one_image: pass one image at a time.
        method: the attack that the candidate claims to be: `fgsm`, `fgm`, `r+fgsm`, `fgsm-rs`, `bim`, `pgd` or `mi-fgsm`.
        norm: `inf` or `2`; empty for that of the method's paper.
        steps: number of steps, >= 1; None for the method's default.
        step_size: size of a step: a share of epsilon such as `0.25`, or a size in the units of the pixels such as `2/255`; empty
            for the method's default.
        random_start: the attack starts at a random point of the ball, for `pgd`.
        progress: called with calls done and calls in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The verification. Whatever the candidate does is its result: an exception of the candidate is not an error, unless it
        cannot import what it needs.

    Raises:
        SettingError: if the candidate cannot be loaded or cannot import what it needs, or if a name or the time limit is not valid.
    """
    began = time.perf_counter()
    own = to_candidate(candidate, style)
    for name in expect:
        if name not in MISTAKE_BY_ID:
            raise SettingError(f"expect must be the id of a mistake, got {name!r}: {did_you_mean(name, MISTAKE_BY_ID)}")
    if not time_limit > 0:
        raise SettingError(f"time limit must be a number of seconds > 0, got {time_limit:g}: try {VerifyOptions.time_limit:g}")
    settings = BenchSettings.parse(image_shape, classes, one_image=one_image)
    claimed = parse_method(method, norm, steps, step_size, start=random_start)
    is_fgsm = claimed == FGSM
    build = build_calls if is_fgsm else partial(build_method_calls, method=claimed)
    read = read_stages if is_fgsm else partial(read_method_stages, claimed)
    extra = [replace(call, method=claimed) for call in extra]
    has_own = own.style == "normalised" and has_own_statistics(own.call)
    if has_own:
        own = own.normalised_with(_statistics_of(extra))
    with neutral_settings():
        calls = _choose_calls([*build(settings, targeted=own.targets), *extra], cases)
        responses = run_calls(own, calls, time_limit, one_image=settings.one_image, progress=as_function(progress))
        readings, conduct, harmless = read(responses, expect)
        known = None
        if has_own and is_fgsm and not extra and _is_wrong(readings):
            known = find_normalisation(own, calls, time_limit, one_image=settings.one_image)
        if known not in (None, IMAGENET):
            own = own.normalised_with(known)
            responses = run_calls(own, calls, time_limit, one_image=settings.one_image, progress=as_function(progress))
            readings, conduct, harmless = read(responses, expect)
        limitations = find_limitations(own, responses, settings, time_limit)
        if is_fgsm and _is_wrong(readings) and known is None and not extra:
            limitations += find_other_style(own, calls, time_limit, one_image=settings.one_image)
    return Verification(
        own,
        tuple(readings),
        tuple(conduct),
        tuple(harmless),
        tuple(limitations),
        tuple(responses),
        strict,
        describe_environment(torch.device("cpu")),
        time.perf_counter() - began,
        claimed,
    )


def _choose_calls(calls: Sequence[BenchCall], names: Iterable[str]) -> list[BenchCall]:
    """Return the calls of these names, all for none, with the calls whose tensor they pass again."""
    by_name = {call.name: call for call in calls}
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if not any(f"{call}, ".startswith(f"{name}, ") for call in by_name):
            hint = "pass --model" if name == OWN_CALL else did_you_mean(name, by_name)
            raise SettingError(f"case must be one of {', '.join(by_name)}, got {name!r}: {hint}")
    chosen = [call for call in calls if not wanted or any(f"{call.name}, ".startswith(f"{name}, ") for name in wanted)]
    kept = {call.name for call in chosen} | {call.tensor_of for call in chosen}
    return [call for call in calls if call.name in kept]


def _is_wrong(readings: Iterable[StageResult]) -> bool:
    return any(reading.verdict == "wrong" for reading in readings)


def _statistics_of(extra: Sequence[BenchCall]) -> Normalisation:
    """Return the mean and std of the user's own network, else those of ImageNet, which the test bench uses."""
    if not extra:
        return IMAGENET
    mean, std = (tuple(values.flatten().tolist()) for values in (extra[0].call.mean, extra[0].call.std))
    return Normalisation("", mean, std)


def run_calls(
    candidate: Candidate,
    calls: Sequence[BenchCall],
    time_limit: float,
    *,
    one_image: bool = False,
    progress: Progress | None = None,
) -> list[Response]:
    """Run the calls in order, on copies of networks and images that the candidate may change.

    Raises:
        SettingError: if the first call shows that the candidate cannot import or open what it needs.
    """
    models = {id(call.call.model): copy_module(call.call.model) for call in calls}
    tensors: dict[str, torch.Tensor] = {}
    responses: list[Response] = []
    for bench_call in calls:
        model = models[id(bench_call.call.model)]
        x = tensors[bench_call.tensor_of] if bench_call.tensor_of else bench_call.call.x.clone()
        tensors[bench_call.name] = x
        if bench_call.name == "one tensor, other labels":
            mark_gradients(model)
        response = respond(candidate, bench_call, model, x, time_limit, one_image=one_image)
        if not responses and isinstance(response.observed.error, IMPORT_ERRORS):
            raise SettingError(
                f"candidate {candidate.name} must run, it raised {describe_error(response.observed.error)}: "
                "fix its imports and paths"
            )
        responses.append(response)
        if progress is not None:
            progress(len(responses), len(calls))
        if response.observed.failure.startswith("takes longer"):
            break  # the next call would reach the time limit too
    return responses


def read_stages(
    responses: Sequence[Response], expect: Collection[str] = ()
) -> tuple[list[StageResult], list[Observation], list[Observation]]:
    """Return the reading of each stage in order, what is wrong with the conduct, and what is harmless."""
    evidence = Evidence.of(responses)
    randomness = read_randomness(evidence)
    output = read_output(evidence)
    direction = read_direction(evidence)
    loss = read_loss(evidence)
    clip, steps = read_clip(evidence, direction), read_steps(evidence, direction)
    size = read_size(evidence, direction, clip)
    direction = _with_sense(direction, loss.descends, evidence)
    found = with_failures([loss.loss, loss.labels, direction, size, clip, output, steps, randomness], responses)
    own = read_own_calls(evidence)
    found = [own.get(reading.stage, reading) if reading.verdict == "unmeasured" else reading for reading in found]
    accepted = [reading for reading in found if reading.cause is not None and reading.cause in expect]
    found = [accept(reading) if reading in accepted else reading for reading in found]
    conduct, observations = read_conduct(evidence, responses, found, expect, accepted={reading.stage for reading in accepted})
    harmless = [Observation(reading.cause, f"it is expected: {reading.text}", is_expected=True) for reading in accepted]
    return [*found, conduct], observations, [*harmless, *harmless_observations(evidence, responses, expect)]


def _with_sense(direction: StageResult, descends: bool, evidence: Evidence) -> StageResult:
    """Return the direction as wrong if the loss is descended, or if a targeted attack climbs it."""
    if direction.verdict != "wrong" and descends:
        return wrong(
            "direction", "wrong-sign", "minus the sign: the step descends the loss", direction.expected, **direction.measured
        )
    response = evidence.get("targeted")
    untargeted = evidence.get("rows")
    if response is None or response.is_right or direction.verdict == "wrong" or untargeted is None or not untargeted.is_right:
        return direction
    opposite = float((response.moved.sign() == -(response.expected - response.call.x).sign()).float().mean())
    if opposite < 0.8:
        return direction
    text = "the sign, also for targets: a targeted attack climbs the loss of the target"
    return wrong("direction", "targeted-as-untargeted", text, direction.expected, opposite_share=round(opposite, 4))
