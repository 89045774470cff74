"""Models that predict the images of a source."""

from __future__ import annotations

from robustbench_fgsm.evaluation.transfer_pairs import evaluated_models


def test_the_source_comes_first_and_once() -> None:
    assert evaluated_models(1, (0, 1, 2)) == (1, 0, 2)
    assert evaluated_models(3, (0,)) == (3, 0)
