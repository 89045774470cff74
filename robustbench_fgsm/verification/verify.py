"""Put a candidate through the table of cases, and diagnose what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence

import torch

from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.references.candidate import Candidate, to_candidate
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification.cases import CASES, Case, check_case_names, link_calls_across_cases
from robustbench_fgsm.verification.findings import collect_findings, harmless_findings
from robustbench_fgsm.verification.result import Verification
from robustbench_fgsm.verification.run_case import DEFAULT_TIME_LIMIT, run_case


def verify(
    candidate: Candidate | Callable[..., object] | str,
    *,
    style: str = "plain",
    cases: Iterable[str] = (),
    extra: Sequence[Case] = (),
    strict: bool = False,
    expect: Collection[str] = (),
    time_limit: float = DEFAULT_TIME_LIMIT,
    progress: Progress | None = None,
) -> Verification:
    """Put a candidate through the cases and say what is wrong with it, if anything.

    candidate: a callable, `file.py:fn` or `package.module:fn`, written in that style. cases: names of `CASES`, all where
    none is given. extra: cases of your own. strict: side effects that leave the images right count too. expect: ids of
    mistakes that are meant, such as `random-start`; they do not count. time_limit: seconds a call. progress: called with
    cases done and cases in all.

    Whatever the candidate does is its result, and no error. Raises SettingError for a candidate that cannot be loaded and
    for an unknown case or id.
    """
    began = time.perf_counter()
    own = to_candidate(candidate, style)
    for name in expect:
        if name not in MISTAKE_BY_ID:
            raise SettingError(f"expect must be the id of a mistake, got {name!r}: {did_you_mean(name, MISTAKE_BY_ID)}")
    if not time_limit > 0:
        raise SettingError(f"time limit must be a number of seconds > 0, got {time_limit:g}: try {DEFAULT_TIME_LIMIT:g}")
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
