"""Put a candidate through the table of cases, and diagnose what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence

import torch

from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.options import VerifyOptions
from robustbench_fgsm.references.candidate import Candidate, to_candidate
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification.cases import CASES, Case, check_case_names, link_calls_across_cases
from robustbench_fgsm.verification.findings import collect_findings, harmless_findings
from robustbench_fgsm.verification.result import Verification
from robustbench_fgsm.verification.run_case import run_case


def verify(
    candidate: Candidate | Callable[..., object] | str,
    *,
    style: str = VerifyOptions.style,
    cases: Iterable[str] = VerifyOptions.cases,
    extra: Sequence[Case] = (),
    strict: bool = VerifyOptions.strict,
    expect: Collection[str] = VerifyOptions.expect,
    time_limit: float = VerifyOptions.time_limit,
    progress: Progress | None = None,
) -> Verification:
    """Run a candidate on a table of cases, and diagnose what is wrong with its images and its conduct.

    Args:
        candidate: a callable, `file.py:fn` or `pkg.mod:fn`.
        style: how the candidate is called: `plain`, `torchattacks`, `art`, `foolbox`, `tutorial`, `nhwc` or `normalised`.
        cases: names of the cases to run; all by default.
        extra: your own cases, which run after them.
        strict: count side effects that leave the images right as failures.
        expect: ids of mistakes that do not count, such as `random-start`.
        time_limit: seconds that one call may take, > 0.
        progress: called with cases done and cases in all.

    Returns:
        The verification. Whatever the candidate does is its result: an exception of the candidate is not an error.

    Raises:
        SettingError: if the candidate cannot be loaded, or if a case, an id or the time limit is not valid.
    """
    began = time.perf_counter()
    own = to_candidate(candidate, style)
    for name in expect:
        if name not in MISTAKE_BY_ID:
            raise SettingError(f"expect must be the id of a mistake, got {name!r}: {did_you_mean(name, MISTAKE_BY_ID)}")
    if not time_limit > 0:
        raise SettingError(f"time limit must be a number of seconds > 0, got {time_limit:g}: try {VerifyOptions.time_limit:g}")
    chosen = [*(CASES[name]() for name in check_case_names(cases)), *extra]
    chosen = [case for case in chosen if own.targets or not any(call.targeted for call in case.calls)]
    chosen = link_calls_across_cases(chosen)
    recipe_runner, results = RecipeRunner(), []
    for case in chosen:
        results.append(run_case(recipe_runner, own, case, expect=frozenset(expect), time_limit=time_limit))
        if progress is not None:
            progress(len(results), len(chosen))
    return Verification(
        own,
        tuple(results),
        tuple(collect_findings(recipe_runner, results, expect)),
        tuple(harmless_findings(results, expect)),
        strict,
        describe_environment(torch.device("cpu")),
        time.perf_counter() - began,
    )
