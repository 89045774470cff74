"""Put a candidate through the table of cases, and say what is wrong with it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS, CandidateError, SettingError, did_you_mean
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.references.candidate import Candidate, to_candidate
from robustbench_fgsm.references.candidate_reference import check_returned_images
from robustbench_fgsm.spec import VerifyOptions
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID, Finding
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification import findings
from robustbench_fgsm.verification.case_result import CaseResult
from robustbench_fgsm.verification.cases import CASES, Case, check_case_names, link_calls_across_cases
from robustbench_fgsm.verification.diagnosis import JudgedCall
from robustbench_fgsm.verification.judge import judge_images
from robustbench_fgsm.verification.sandbox import observe_call

DEFAULT_TIME_LIMIT = VerifyOptions.time_limit
"""Seconds a call."""


@dataclass(frozen=True)
class Verification:
    """What became of a candidate. diagnosis: what is wrong. doubts: harmless mistakes, which strict counts as well."""

    candidate: Candidate
    results: tuple[CaseResult, ...]
    diagnosis: tuple[Finding, ...]
    harmless_findings: tuple[Finding, ...]
    strict: bool
    environment: dict[str, str | int]
    seconds: float

    @property
    def verdict(self) -> Literal["right", "wrong"]:
        """`right` where every case passes; with strict, where there is no doubt either."""
        wrong = not all(result.passed for result in self.results) or (self.strict and bool(self.harmless_findings))
        return "wrong" if wrong else "right"

    @property
    def exit_code(self) -> int:
        """0 for a right candidate, 1 for a wrong one."""
        return EXIT_SUCCESS if self.verdict == "right" else EXIT_NEGATIVE_RESULT

    @property
    def tracebacks(self) -> list[str]:
        """Where the candidate raised, each place once."""
        found = (seen.traceback for result in self.results for seen in result.observed_calls if seen.traceback)
        return list(dict.fromkeys(found))

    @property
    def summary(self) -> str:
        """Verdict, failing cases, diagnosis and, where they count, doubts, a line each."""
        passed = sum(result.passed for result in self.results)
        lines = [f"{self.candidate.name} is {self.verdict}: {passed} of {len(self.results)} cases pass"]
        lines += [f"  {result.case.name}: {result.detail}" for result in self.results if not result.passed]
        for finding in (*self.diagnosis, *(self.harmless_findings if self.strict else ())):
            lines += [f"{finding.cause}: {finding.evidence}", f"  remedy: {finding.remedy}"]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The document `rfgsm.verification/1`."""
        return {
            "schema": "rfgsm.verification/1",
            "status": "complete",
            "exit_code": self.exit_code,
            "invalid_reasons": [],
            "verdict": self.verdict,
            "candidate": self.candidate.to_dict(),
            "strict": self.strict,
            "cases": [result.to_dict() for result in self.results],
            "diagnosis": [finding.to_dict() for finding in self.diagnosis],
            "warnings": [{"cause": doubt.cause, "evidence": doubt.evidence} for doubt in self.harmless_findings],
            "environment": self.environment,
            "seconds": {"total": self.seconds},
        }


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
    chosen = [case for case in chosen if own.targets or not any(scene.targeted for scene in case.calls)]
    chosen = link_calls_across_cases(chosen)
    kitchen, results = RecipeRunner(), []
    for case in chosen:
        results.append(run_case(kitchen, own, case, expect=frozenset(expect), time_limit=time_limit))
        if progress is not None:
            progress(len(results), len(chosen))
    doubts = findings.harmless_findings(results, expect)
    return Verification(
        own,
        tuple(results),
        tuple(findings.collect_findings(kitchen, results, expect)),
        tuple(doubts),
        strict,
        describe_environment(torch.device("cpu")),
        time.perf_counter() - began,
    )


def run_case(
    recipe_runner: RecipeRunner, candidate: Candidate, case: Case, *, expect: Collection[str], time_limit: float
) -> CaseResult:
    """Make the calls of one case, in their order, on networks and images that are the candidate's own to spoil."""
    spoiled = {id(scene.model): copy.deepcopy(scene.model) for scene in case.calls}
    one_tensor = case.calls[0].x.clone()
    trials, wrong, observations, problems = [], [], [], []
    for scene in case.calls:
        x = one_tensor if case.shared_tensor else scene.x.clone()
        seen = observe_call(candidate, scene, spoiled[id(scene.model)], x, time_limit)
        found: Tensor | None = None
        if seen.failure:
            problems.append(seen.failure)
        else:
            try:
                found = check_returned_images(candidate.name, seen.returned, scene.x, require_finite=case.rule != "not finite")
            except CandidateError as error:
                seen = replace(seen, failure=str(error).partition(", got ")[2] or str(error))
                problems.append(str(error).partition(" must ")[2])
        if found is not None:
            judgement = judge_images(recipe_runner, scene, found, case.rule, warned=seen.warned)
            trial = JudgedCall(scene, found, judgement, forward_pass_count=len(seen.forward_passes))
            trials.append(trial)
            if bool(trial.judgement.wrong.any()) and not findings.is_expected_random_start(trial, expect):
                wrong.append(trial)
        problems += [text for name, text in seen.side_effects.items() if name not in HARMLESS_IDS and name not in expect]
        observations.append(seen)
        if seen.failure.startswith("takes longer"):
            break  # the same case would only take as long again
    return CaseResult(case, tuple(trials), tuple(wrong), tuple(observations), tuple(problems))
