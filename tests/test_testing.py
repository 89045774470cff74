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


def only_colour(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    assert x.shape[1:] == (3, 32, 32)
    return rf.fgsm(model, x, y, epsilon)


def test_right_candidate_passes() -> None:
    assert assert_fgsm(ours).verdict == "right"


def test_wrong_candidate_fails_with_its_stage() -> None:
    with pytest.raises(AssertionError) as failed:
        assert_fgsm(unclipped)
    message = str(failed.value)
    assert message.startswith("unclipped is wrong\n  clip: none: outputs reach -0.3 to 1.3 [no-clip]\n")
    assert "\n    remedy: clip the result to the bounds" in message


def test_incomplete_candidate_fails_with_a_remedy_that_works() -> None:
    with pytest.raises(AssertionError, match=r"only_colour is incomplete\n.*--image-shape 3x32x32"):
        assert_fgsm(only_colour)
    assert assert_fgsm(only_colour, image_shape="3x32x32").verdict == "right"


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
            assert_fgsm(unclipped)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert_fgsm(unclipped*", "E*clip: none: outputs reach*no-clip*"])
    result.stdout.no_fnmatch_line("*raise AssertionError*")
