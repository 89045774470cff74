"""Page of a training run."""

from __future__ import annotations

from robustbench_fgsm.report.pages.training import build_training_page
from tests.report.runs import run, taught


def test_overfitting_and_kept_weights_are_named() -> None:
    text = build_training_page(run(taught()))
    assert "Catastrophic overfitting in epoch 2, quarter 1." in text
    assert "Kept: the weights of epoch 1, quarter 4, the best accuracy under PGD-10." in text
    assert "The best of many checks on 40 held-out images flatters" in text


def test_few_held_out_images_warn() -> None:
    assert "only 40 held-out images: intervals are wide" in build_training_page(run(taught()))
