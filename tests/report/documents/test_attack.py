"""Summary of saved adversarial images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robustbench_fgsm.report.documents.attack import summarize
from tests.report.printed import printed, unwrapped

Document = dict[str, Any]


@pytest.fixture
def document(measured: Callable[..., Document]) -> Document:
    """Return an attack document whose rates are those of an evaluation, rounded to 8 bits."""
    evaluation = measured()
    at = evaluation["epsilons"][0]
    return evaluation | {
        "schema": "rfgsm.attack/1",
        "attack": evaluation["attack"] | {"epsilon": at["epsilon"]},
        "adversarial": at,
        "rounded": at | {"predictions_changed": 2, "pixels_outside": 3, "pixels": 2160},
        "files": [{}, {}],
        "output": {"format": "png"},
    }


def test_shows_computed_and_rounded_rates(document: Document) -> None:
    (sheet,) = summarize(document).sheets
    assert sheet.columns == ("", "of", "n", "as computed", "in 8 bits")
    assert [row[0] for row in sheet.rows][:3] == ["clean accuracy", "robust accuracy", "worst class"]
    assert "Rounding changed 2 of 60 predictions; 3 of 2,160 pixels have no 8-bit value" in unwrapped(document)


def test_unrounded_rates_have_one_column(document: Document) -> None:
    (sheet,) = summarize(document | {"rounded": None}).sheets
    assert sheet.columns[-1] == "as computed"
    assert "Rounding" not in printed(document | {"rounded": None})


def test_last_line_counts_saved_images(document: Document) -> None:
    assert printed(document).splitlines()[-1] == "Saved 60 images in 2 png shards."
