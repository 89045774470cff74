"""The assertion for other projects' test suites."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.testing import assert_fgsm


def ours(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return rf.fgsm(model, x, y, epsilon)


def unclipped(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return rf.fgsm(model, x, y, epsilon, bounds=None)


def test_right_candidate_passes() -> None:
    assert assert_fgsm(ours).verdict == "right"


def test_wrong_candidate_fails_with_diagnosis() -> None:
    with pytest.raises(AssertionError) as failed:
        assert_fgsm(unclipped, cases=["grey", "bounds"])
    message = str(failed.value)
    assert message.startswith("unclipped is wrong: 0 of 2 cases pass\n  grey: ")
    assert "\nno-clip: " in message
    assert "\n  remedy: clip the result to the bounds" in message


def test_strict() -> None:
    with pytest.raises(AssertionError, match="saturation-cancellation"):
        assert_fgsm(ours, strict=True)


def test_traceback_shows_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import robustbench_fgsm as rf
        from robustbench_fgsm.testing import assert_fgsm

        def unclipped(model, x, y, epsilon):
            return rf.fgsm(model, x, y, epsilon, bounds=None)

        def test_mine():
            assert_fgsm(unclipped, cases=["bounds"])
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert_fgsm(unclipped*", "E*no-clip: images leave the pixel range*"])
    result.stdout.no_fnmatch_line("*raise AssertionError*")
