"""The gallery of a figure: which images it takes, and that their pixels and predictions are those that were kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.report.figures.gallery import MAX_IMAGES, choose_examples, draw_run
from robustbench_fgsm.report.pages.images import amplified_perturbation, to_uint8
from tests.report.runs import gallery, hostile, run

Measured = Callable[..., dict[str, Any]]


def test_shows_the_kept_images(measured: Measured) -> None:
    document = measured("4,64/255", targeted=("none", "next"))
    kept = gallery(document) + gallery(document, "next")
    figure = draw_run(run(document, example_images=kept), "gallery", "next", 4 / 255)
    shown = choose_examples([one for one in kept if one.targeted == "next" and one.epsilon == 4 / 255])
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 3 * len(shown) == 3 * MAX_IMAGES
    for place, image in enumerate(shown):
        pictures = (image.clean, amplified_perturbation(image), image.adversarial)
        for panel, pixels in zip(panels[3 * place :], pictures, strict=False):
            np.testing.assert_array_equal(np.asarray(panel.images[0].get_array()), to_uint8(pixels))
        assert panels[3 * place].get_title() == f"label class {image.label}\nclass {image.prediction_before} 75%"
        assert panels[3 * place + 2].get_title() == f"after\nclass {image.prediction_after} 50%"


def test_fooled_images_come_first(measured: Measured) -> None:
    shown = choose_examples(gallery(measured("64/255")))
    fooled = [image.prediction_before != image.prediction_after for image in shown]
    assert fooled == sorted(fooled, reverse=True)
    kept = {image.label for image in gallery(measured("64/255")) if image.prediction_before != image.prediction_after}
    labels = [image.label for image in shown[: len(kept)]]
    assert labels == sorted(kept)


def test_rejects_a_run_without_images(measured: Measured) -> None:
    with pytest.raises(rf.SettingError, match="a gallery needs images that the run kept, got none of a run"):
        draw_run(run(measured()), "gallery")


def test_hostile_names(measured: Measured) -> None:
    document = hostile(measured("64/255"))
    figure = draw_run(run(document, example_images=gallery(document)), "gallery")
    assert figure.axes
