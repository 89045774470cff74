"""Assertion for the test suites of other projects: an FGSM implementation is right."""

from __future__ import annotations

from collections.abc import Callable, Collection

from robustbench_fgsm.options import VerifyOptions
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.verification.result import Verification
from robustbench_fgsm.verification.verify import verify


def assert_fgsm(
    candidate: Candidate | Callable[..., object] | str,
    *,
    style: str = VerifyOptions.style,
    strict: bool = VerifyOptions.strict,
    expect: Collection[str] = VerifyOptions.expect,
    time_limit: float = VerifyOptions.time_limit,
    image_shape: str = VerifyOptions.image_shape,
    classes: int | None = VerifyOptions.classes,
    one_image: bool = VerifyOptions.one_image,
) -> Verification:
    """Raise AssertionError with what is wrong as its message, unless the candidate is a right FGSM.

    Args:
        candidate: callable `(model, x, y, epsilon) -> x_adv`, or `file.py:fn` or `pkg.mod:fn`.
        style: how the candidate is called, as for `verify`.
        strict: count deviations that leave the images right as failures.
        expect: ids of deviations to accept, such as `random-start`.
        time_limit: seconds that one call may take.
        image_shape: `CxHxW` of the images that the candidate takes; by default `3x32x32` and others.
        classes: number of classes that the candidate takes; by default 10, and also 2 and 1,000.
        one_image: pass one image at a time.

    Returns:
        The verification, if the candidate is right.

    Raises:
        AssertionError: if the verdict is "wrong" or "incomplete".
        SettingError: if the candidate cannot be loaded, or an id, a shape or the time limit is not valid.
    """
    __tracebackhide__ = True
    found = verify(
        candidate,
        style=style,
        strict=strict,
        expect=expect,
        time_limit=time_limit,
        image_shape=image_shape,
        classes=classes,
        one_image=one_image,
    )
    if found.verdict != "right":
        raise AssertionError(found.summary)
    return found
