"""Tiles hold the numbers of their documents, each with its interval and its n."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robustbench_fgsm.report.documents.verification import verdict_sentence
from robustbench_fgsm.report.pages.tiles import (
    Tile,
    evaluation_tiles,
    rate_tile,
    training_tiles,
    transfer_tiles,
    verification_tiles,
)
from robustbench_fgsm.stats.rate import Rate
from tests.report.runs import crossed, taught
from tests.report.verifications import THRESHOLD, verification

Measured = Callable[..., dict[str, Any]]


def by_label(tiles: Any) -> dict[str, Tile]:
    return {tile.label: tile for tile in tiles}


def test_a_rate_has_its_interval_and_n() -> None:
    assert rate_tile("a", Rate(1, 2).to_dict()) == Tile("a", "50.0 %", "[9.5, 90.5], n=2")
    assert rate_tile("a", Rate(0, 0).to_dict()) == Tile("a", "n/a", "n=0")


def test_evaluation_names_accuracies_and_the_worst_class(measured: Measured) -> None:
    document = measured()
    at = document["epsilons"][0]
    worst = at["per_class"][at["worst_class"]]
    clean, robust, lowest = evaluation_tiles(document, at, at["epsilon"], document)
    assert clean == rate_tile("clean accuracy", document["clean"]["accuracy"])
    assert robust == rate_tile("robust accuracy, ε 8/255", at["robust_accuracy"])
    assert lowest == rate_tile(f"worst class: {worst['name']}", worst["robust_accuracy"])


def test_a_stable_gradient_that_fools_more_is_said(measured: Measured) -> None:
    document = measured()
    at = document["epsilons"][0]
    at["stable"] = at | {"robust_accuracy": Rate(1, 60).to_dict()}
    assert list(evaluation_tiles(document, at, at["epsilon"]))[1].detail.endswith("; stable gradients 1.7 %")


@pytest.mark.reference
def test_pgd_gap_stands_beside(measured: Measured) -> None:
    document = measured(pgd_check=30, check_masking=True)
    gap = document["pgd_check"]["overstated"]
    tile = list(evaluation_tiles(document, document["epsilons"][0], 8 / 255))[-1]
    assert (tile.label, tile.value) == ("PGD-20 gap, ε 8/255", f"{100 * gap['value']:.1f} points")


@pytest.mark.parametrize(("passed", "word", "tone"), [((True, True), "PASSED", "good"), ((True, False), "FAILED", "bad")])
def test_thresholds_have_one_verdict(measured: Measured, passed: tuple[bool, ...], word: str, tone: str) -> None:
    document = measured() | {"gates": [{"passed": one} for one in passed]}
    tile = list(evaluation_tiles(document, document["epsilons"][0], 8 / 255, document))[-1]
    assert (tile.value, tile.tone) == (word, tone)


def test_training_names_overfitting() -> None:
    document = taught()
    tiles = by_label(training_tiles(document, {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD"}))
    assert tiles["catastrophic overfitting"].tone == "bad"
    assert tiles["PGD"] == rate_tile("PGD", document["kept"]["pgd"], " held out")


def test_transfer_has_the_lowest_of_each_kind() -> None:
    document = crossed()
    own, others = transfer_tiles(document, 1)
    for tile, equal in ((own, True), (others, False)):
        cells = [cell for cell in document["cells"] if (cell["source"] == cell["target"]) == equal]
        lowest = min(cell["epsilons"][1]["robust_accuracy"]["value"] for cell in cells)
        assert tile.value == f"{100 * lowest:.1f} %"


def test_verification_counts_stages() -> None:
    document = verification(direction=THRESHOLD)
    tiles = by_label(verification_tiles(document, verdict_sentence(document)))
    assert (tiles["verdict"].value, tiles["verdict"].tone) == ("WRONG", "bad")
    assert (tiles["wrong stages"].value, tiles["wrong stages"].detail) == ("1 of 9", "direction")
