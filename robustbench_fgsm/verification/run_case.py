"""Run a candidate on the calls of one case, and judge what it returns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from robustbench_fgsm.errors import CandidateError
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.options import VerifyOptions
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.references.candidate_reference import check_returned_images
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification.cases import Case
from robustbench_fgsm.verification.judge import judge_images
from robustbench_fgsm.verification.result import CaseResult
from robustbench_fgsm.verification.sandbox import observe_call


def run_case(
    recipe_runner: RecipeRunner,
    candidate: Candidate,
    case: Case,
    *,
    expect: Collection[str] = (),
    time_limit: float = VerifyOptions.time_limit,
) -> CaseResult:
    """Run the calls of one case in order, on copies of networks and images that the candidate may change."""
    models = {id(call.model): copy_module(call.model) for call in case.calls}
    shared_images = case.calls[0].x.clone()
    judged_calls, wrong_calls, observed_calls, problems = [], [], [], []
    for call in case.calls:
        x = shared_images if case.shared_tensor else call.x.clone()
        observed = observe_call(candidate, call, models[id(call.model)], x, time_limit)
        if observed.failure:
            problems.append(observed.failure)
        else:
            try:
                finite = case.rule != "not finite"
                images = check_returned_images(candidate.name, observed.returned, call.x, require_finite=finite)
            except CandidateError as error:
                observed = replace(observed, failure=str(error).partition(", got ")[2] or str(error))
                problems.append(str(error).partition(" must ")[2])
            else:
                judged = judge_images(recipe_runner, call, images, case.rule, warned=observed.warned)
                judged = replace(judged, forward_pass_count=len(observed.forward_passes))
                judged_calls.append(judged)
                if judged.any_wrong and not ("random-start" in expect and judged.within_budget):
                    wrong_calls.append(judged)
        problems += [text for name, text in observed.side_effects.items() if name not in HARMLESS_IDS and name not in expect]
        observed_calls.append(observed)
        if observed.failure.startswith("takes longer"):
            break  # the next call would reach the time limit too
    return CaseResult(case, tuple(judged_calls), tuple(wrong_calls), tuple(observed_calls), tuple(problems))
