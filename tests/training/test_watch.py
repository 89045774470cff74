"""What is named catastrophic overfitting, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.training.watch import ValidationCheck, find_catastrophic_overfitting, make_held_out_evaluator


def checks(*rates: tuple[int, int]) -> list[ValidationCheck]:
    """(FGSM, PGD) in per cent of 100 images, quarter after quarter."""
    return [
        ValidationCheck(at // 4 + 1, at % 4 + 1, at, 1.0, 0.1, rf.Rate(90, 100), rf.Rate(fgsm, 100), rf.Rate(pgd, 100))
        for at, (fgsm, pgd) in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("rates", "rule", "place"),
    [
        ([(60, 55), (62, 56), (70, 34)], "fell", (1, 3)),
        ([(60, 55), (70, 36), (80, 20), (90, 18), (95, 17)], "below-half", (1, 3)),
        ([(50, 40), (60, 38), (70, 36), (74, 36)], "below-half", (1, 4)),
    ],
)
def test_finds_overfitting(rates: Sequence[tuple[int, int]], rule: str, place: tuple[int, int]) -> None:
    found = find_catastrophic_overfitting(checks(*rates), 10)
    assert found is not None
    assert (found.rule, (found.epoch, found.quarter)) == (rule, place)
    assert "PGD-10" in found.evidence


@pytest.mark.parametrize(
    "rates",
    [
        [(50, 45), (60, 50), (55, 40), (60, 41)],
        [(60, 55), (60, 36), (60, 31)],
        [(10, 10), (30, 12), (40, 18), (45, 40)],
        [(98, 95), (75, 74), (99, 99)],
        [(20, 0), (30, 1), (40, 1)],
        [],
    ],
    ids=["healthy", "slow", "from chance", "unsteady", "never above", "nothing"],
)
def test_no_false_alarm(rates: Sequence[tuple[int, int]]) -> None:
    assert find_catastrophic_overfitting(checks(*rates), 10) is None


def test_json_round_trip() -> None:
    bare = ValidationCheck(1, 4, 10, 0.5, 0.1)
    for check in [bare, *checks((60, 50))]:
        assert ValidationCheck.from_dict(check.to_dict()) == check
    assert find_catastrophic_overfitting([bare, bare], 10) is None


@pytest.mark.reference
def test_rates_of_the_attacks(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch: Batch = next(images.batches(0, 128, 128))
    rates = make_held_out_evaluator(batch, 8 / 255, seed=0)(classifier)
    evaluation = rf.evaluate(classifier, images.head(128), 8 / 255)
    assert rates["clean"] == evaluation.clean_accuracy
    assert rates["fgsm"] == evaluation.tallies[0].robust_accuracy
    assert rates["pgd"].count <= rates["fgsm"].count
    assert make_held_out_evaluator(batch, 8 / 255, seed=0)(classifier) == rates
