"""For the test suite of another project: one assertion that an FGSM implementation is right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.verification.result import Verification
from robustbench_fgsm.verification.run_case import DEFAULT_TIME_LIMIT
from robustbench_fgsm.verification.verify import verify


def assert_fgsm(
    candidate: Candidate | Callable[..., object] | str,
    *,
    style: str = "plain",
    cases: Iterable[str] = (),
    strict: bool = False,
    expect: Collection[str] = (),
    time_limit: float = DEFAULT_TIME_LIMIT,
) -> Verification:
    """Raise AssertionError, with the diagnosis in its message, unless the candidate is a right FGSM.

    candidate: a callable `(model, x, y, epsilon) -> x_adv`, or `file.py:fn`, written in that style. The other arguments are
    those of `verify`, whose result is returned.
    """
    __tracebackhide__ = True
    found = verify(candidate, style=style, cases=cases, strict=strict, expect=expect, time_limit=time_limit)
    if found.verdict == "wrong":
        raise AssertionError(found.summary)
    return found
