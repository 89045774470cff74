"""Assertion for the test suites of other projects: an FGSM implementation is right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from robustbench_fgsm.options import VerifyOptions
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.verification.result import Verification
from robustbench_fgsm.verification.verify import verify


def assert_fgsm(
    candidate: Candidate | Callable[..., object] | str,
    *,
    style: str = "plain",
    cases: Iterable[str] = (),
    strict: bool = False,
    expect: Collection[str] = (),
    time_limit: float = VerifyOptions.time_limit,
) -> Verification:
    """Raise AssertionError with the diagnosis as its message, unless the candidate is a right FGSM.

    Args:
        candidate: callable `(model, x, y, epsilon) -> x_adv`, or `file.py:fn` or `pkg.mod:fn`.
        style: how the candidate is called, as for `verify`.
        cases: names of the cases to run; all by default.
        strict: count side effects that leave the images right as failures.
        expect: ids of deviations to accept, such as `random-start`.
        time_limit: seconds that one call may take.

    Returns:
        The verification, if the candidate is right.

    Raises:
        AssertionError: if the verdict is "wrong".
        SettingError: if the candidate cannot be loaded, or a case, an id or the time limit is not valid.
    """
    __tracebackhide__ = True
    found = verify(candidate, style=style, cases=cases, strict=strict, expect=expect, time_limit=time_limit)
    if found.verdict == "wrong":
        raise AssertionError(found.summary)
    return found
