"""Read the stages of an attack of FGSM's family off its iterates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch

from robustbench_fgsm.variants.catalogue import HARMLESS_IDS
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.iterates import COSINE, Measured, cosines, measure
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.stage_result import Stage, StageResult, accept, ok, rounded, unmeasured, wrong
from robustbench_fgsm.verification.stages.batch import batch_observations
from robustbench_fgsm.verification.stages.conduct import EXPECTED as EXPECTED_CONDUCT
from robustbench_fgsm.verification.stages.conduct import Observation, side_effects
from robustbench_fgsm.verification.stages.failures import nan_for_zero_epsilon, with_failures
from robustbench_fgsm.verification.stages.loss import EXPECTED_LABELS, EXPECTED_LOSS, read_heard_loss
from robustbench_fgsm.verification.stages.output import read_output
from robustbench_fgsm.verification.stages.projection import read_projection
from robustbench_fgsm.verification.stages.returned import read_iterate_clip, read_returned_iterate
from robustbench_fgsm.verification.stages.start import read_start
from robustbench_fgsm.verification.stages.step_size import read_step_direction, read_step_size


def read_method_stages(
    method: Method, responses: Sequence[Response], expect: Collection[str] = ()
) -> tuple[list[StageResult], list[Observation], list[Observation]]:
    """Return the reading of each stage, what is wrong with the conduct, and what is harmless."""
    evidence = Evidence.of(responses)
    output = read_output(evidence)
    start = read_start(method, evidence)
    seen = measure(method, evidence)
    if seen is None:
        text = "no gradient was heard: the network was not called in a way that can be followed"
        text = text if evidence.responses else "no call brought images"
        unheard: tuple[Stage, ...] = ("loss", "labels", "direction", "size", "clip")
        found = [unmeasured(stage, text) for stage in unheard]
        found += [output, unmeasured("steps", text), start]
    else:
        found = [*_loss(seen), read_step_direction(seen), read_step_size(seen), read_iterate_clip(seen)]
        wrong_stages = {one.stage for one in found if one.verdict == "wrong"}
        found += [read_returned_iterate(seen, output), read_projection(seen, wrong_stages), start]
    found = with_failures(found, responses)
    found = [accept(one) if one.cause in expect and one.cause is not None else one for one in found]
    causes = {one.cause for one in found if one.verdict == "wrong"}
    listed: dict[str | None, str] = {}
    for one in (*side_effects(evidence, responses, causes), *batch_observations(seen, evidence, causes)):
        if one.cause not in expect:
            listed.setdefault(one.cause, one.evidence)
    observations = [Observation(cause, text) for cause, text in listed.items()]
    harmless = list(_harmless(method, responses, expect))
    return [*found, _conduct_reading(observations, evidence)], observations, harmless


def _conduct_reading(observations: Sequence[Observation], evidence: Evidence) -> StageResult:
    if not evidence.responses:
        return unmeasured("conduct", "no call brought images")
    if not observations:
        return ok("conduct", "the result depends on the arguments alone", EXPECTED_CONDUCT)
    first = observations[0]
    more = f"; and {', '.join(one.cause or 'more' for one in observations[1:])}" if len(observations) > 1 else ""
    fix = "" if first.cause else "compare the iterates of these calls with those of the definition"
    return wrong("conduct", first.cause, f"{first.evidence}{more}", EXPECTED_CONDUCT, fix)


def _harmless(method: Method, responses: Sequence[Response], expect: Collection[str]) -> Iterator[Observation]:
    """Yield what leaves the images right, each kind once. A method with a random start may draw from a global generator."""
    ids = HARMLESS_IDS - {*expect} - ({"global-rng"} if method.start != "image" else set())
    found: dict[str, str] = {}
    for response in responses:
        for cause, text in response.observed.side_effects.items():
            if cause in ids:
                found.setdefault(cause, f"in call `{response.name}` {text}")
    if (text := nan_for_zero_epsilon(responses)) and "nan-for-zero-epsilon" in ids:
        found["nan-for-zero-epsilon"] = text
    yield from (Observation(cause, text) for cause, text in found.items())


def _loss(seen: Measured) -> tuple[StageResult, StageResult]:
    found = torch.cat([cosines(path) for path in seen.paths.values()])
    if not len(found):
        return unmeasured("loss", "no gradient was heard at the logits"), unmeasured("labels", "the loss is not known")
    share = float((found.abs() < COSINE).double().mean())
    if share < 0.01:
        text = f"cross-entropy of the given labels (as heard at the logits in {len(found):,} steps)"
        return ok("loss", text, EXPECTED_LOSS, wrong_share=rounded(share)), ok("labels", "given", EXPECTED_LABELS, rule="given")
    for response in seen.evidence.responses.values():
        named = read_heard_loss(response)
        if named is not None and "wrong" in (named.loss.verdict, named.labels.verdict):
            return named.loss, named.labels
    text = f"not cross-entropy of the given labels: its gradient at the logits differs in {100 * share:.0f} % of the steps"
    loss = wrong("loss", "other-loss", text, EXPECTED_LOSS, wrong_share=rounded(share), cosine=rounded(float(found.mean())))
    return loss, unmeasured("labels", "the loss is not known")
