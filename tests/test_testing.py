"""The assertion for other projects' test suites."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.options import AttackOptions
from robustbench_fgsm.testing import assert_attack, assert_fgsm, check_lock, find_lock


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


def test_an_attack_of_several_steps() -> None:
    assert assert_attack(rf.bim, "bim", time_limit=600.0).verdict == "right"
    with pytest.raises(
        AssertionError, match=r"bim is wrong as bim in Linf, 5 steps of 0.2 times epsilon\n  size: 0.1 times epsilon"
    ):
        assert_attack(rf.bim, "bim", steps=5, time_limit=600.0)


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


def test_the_nearest_lock_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "models"
    folder.mkdir(parents=True)
    assert find_lock(folder, tmp_path) == folder / "robustness.lock"
    for place in (tmp_path, tmp_path / "tests", folder):
        (place / "robustness.lock").touch()
        assert find_lock(folder, tmp_path) == place / "robustness.lock"
    assert find_lock(folder, folder) == folder / "robustness.lock"
    assert find_lock(tmp_path / "tests", folder, "other.lock") == tmp_path / "tests" / "other.lock"


def test_locks_are_not_searched_above_the_root(tmp_path: Path) -> None:
    (tmp_path / "robustness.lock").touch()
    (tmp_path / "tests").mkdir()
    assert find_lock(tmp_path / "tests", tmp_path / "tests") == tmp_path / "tests" / "robustness.lock"


def test_a_check_writes_and_reads_a_lock(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path) -> None:
    lock = tmp_path / "robustness.lock"
    with pytest.raises(rf.RunError, match="got none: run pytest --rfgsm-update, and commit"):
        check_lock(classifier, images.head(64), AttackOptions("2/255"), lock)
    assert check_lock(classifier, images.head(64), AttackOptions("2/255"), lock, update=True).written
    found = check_lock(classifier, images.head(64), AttackOptions("2/255"), lock)
    found.assert_passed()
    assert (found.written, found.evaluation["n"]) == (False, 64)
    with pytest.raises(rf.RunError, match="must hold distances for on='distance', got none: run pytest --rfgsm-update"):
        check_lock(classifier, images.head(64), AttackOptions("2/255"), lock, on="distance")
    assert check_lock(classifier, images.head(64), AttackOptions("2/255"), lock, on="distance", update=True).written
    assert check_lock(classifier, images.head(64), AttackOptions("2/255"), lock, on="both").gate.decreases
