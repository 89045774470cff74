"""Parsing of a claim, rates that fit it, and the order of hypotheses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import robustbench_fgsm as rf
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.explanation.hypotheses import CORRECT_VARIANT, AttackVariant
from robustbench_fgsm.explanation.result import RATE_DEFINITIONS, Claim, Explanation
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes, Tally
from robustbench_fgsm.variants.recipe import AttackRecipe


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("0.37", 0.365, 0.375),
        (0.37, 0.365, 0.375),
        (" 37% ", 0.365, 0.375),
        ("37.4 %", 0.3735, 0.3745),
        ("0.370", 0.3695, 0.3705),
        (".5", 0.45, 0.55),
        ("0.0", 0.0, 0.05),
        ("0", 0.0, 0.005),
        (1, 0.995, 1.0),
        (1.0, 0.995, 1.0),
        ("100%", 0.995, 1.0),
        ("1e-3", 0.0005, 0.0015),
        ("0%", 0.0, 0.005),
    ],
)
def test_parses_a_number(value: str | float, low: float, high: float) -> None:
    claim = Claim.parse(value)
    assert (claim.low, claim.high) == pytest.approx((low, high))
    assert claim.low <= claim.value <= claim.high


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("37", r"got 37: did you mean 0.37\?"),
        (37.5, r"did you mean 0.375\?"),
        ("120%", "got 120%: write 0.37 or 37%"),
        ("-0.1", "must lie in"),
        ("nan", "must be a share or a percentage"),
        (float("inf"), "must be a share or a percentage"),
        ("much", "got 'much'"),
        ("37,4%", "write 0.37 or 37%"),
        ("", "got ''"),
    ],
)
def test_rejects_other_numbers(value: str | float, message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        Claim.parse(value)


@given(count=st.integers(0, 50), n=st.integers(1, 50), digits=st.integers(1, 6))
def test_a_printed_rate_fits_itself(count: int, n: int, digits: int) -> None:
    rate = rf.Rate(min(count, n), n)
    assert rate.value is not None
    claim = Claim.parse(f"{rate.value:.{digits}f}")
    assert claim.distance(rate) == pytest.approx(0, abs=1e-12)
    assert claim.fits(rate, n)


def test_intervals_must_overlap() -> None:
    low, high = rf.Rate(400, 1000).interval or (0, 0)
    for value, fits in [(low - 2e-6, False), (low + 2e-6, True), (high - 2e-6, True), (high + 2e-6, False)]:
        assert Claim.parse(f"{value:.7f}").fits(rf.Rate(400, 1000), 1000) == fits
    assert Claim.parse("0.4").fits(rf.Rate(351, 1000), 1000)  # 0.35 to 0.45
    assert not Claim.parse("0.4").fits(rf.Rate(0, 0), 1000)
    assert Claim.parse("0.4").distance(rf.Rate(0, 0)) is None


def test_claimed_n_sets_the_tolerance() -> None:
    rate, far, near = rf.Rate(4000, 10000), "0.4500", "0.4080"
    assert Claim.parse(far, 100).fits(rate, 10000)
    assert not Claim.parse(far, 10000).fits(rate, 10000)
    assert Claim.parse(near, 10000).fits(rate, 10000)
    assert not Claim.parse(near, 10**9).fits(rf.Rate(400_000, 10**6), 10**6)
    assert Claim.parse(near, 10**9).fits(rate, 10000)  # ours is a sample too, however large theirs


def test_fewer_images_are_less_certain() -> None:
    assert not Claim.parse("0.4600").fits(rf.Rate(400, 1000), 1000)
    assert Claim.parse("0.4600").fits(rf.Rate(40, 100), 1000)


def tally(*kinds: tuple[int, int, int, int]) -> Tally:
    """(images, label, before, after) of three classes."""
    labels, before, after = np.repeat([kind[1:] for kind in kinds], [kind[0] for kind in kinds], axis=0).T
    never = np.zeros(len(labels), np.bool_)
    return Tally.of(BatchOutcomes(labels, labels, before, after[:, None], None, never, never, never), 3)


WELL = tally((48, 0, 0, 0), (32, 0, 0, 1), (4, 0, 1, 0), (6, 0, 1, 2), (10, 0, 1, 1))
WORSE = tally((20, 0, 0, 0), (60, 0, 0, 1), (4, 0, 1, 0), (6, 0, 1, 2), (10, 0, 1, 1))


def explanation(text: str) -> Explanation:
    def made(*mistakes: str) -> AttackVariant:
        return AttackVariant(" + ".join(mistakes), "as given", "true", mistakes, AttackRecipe())

    tallies = {CORRECT_VARIANT: WELL, made("same"): WELL, made("worse"): WORSE, made("worse", "and more"): WORSE}
    info, environment = ModelInfo("hand-made", "given", 0, "0" * 64), describe_environment(torch.device("cpu"))
    data = {"spec": "hand-made", "n": 100, "fingerprint": "0" * 64, "classes": ["a", "b", "c"]}
    return Explanation(Claim.parse(text), info, data, AttackSpec(), tallies, ("beware",), environment, 0.0)


def test_definitions_by_hand() -> None:
    found = {found.definition: (found.rate.count, found.rate.n) for found in explanation("0.4").honest}
    assert found == {
        "robust_accuracy": (52, 100),
        "attack_success_rate": (32, 80),
        "error_rate": (48, 100),
        "flip_rate": (42, 100),
        "accuracy_drop": (28, 80),
        "accuracy_difference": (28, 100),
        "accuracy_of_correct": (48, 80),
        "clean_accuracy": (80, 100),
    }
    assert set(found) | {"target_hit_rate"} == set(RATE_DEFINITIONS)


def test_sorts_hypotheses() -> None:
    found = explanation("0.760").explanations  # robust accuracy of nothing; the error rate of the worse one
    fitting = [(one.definition, one.variant.name, one.also) for one in found if one.fits]
    assert fitting == [
        ("clean_accuracy", "the right attack", ()),
        ("error_rate", "worse", ("worse + and more",)),
        ("attack_success_rate", "worse", ("worse + and more",)),
        ("flip_rate", "worse", ("worse + and more",)),
        ("accuracy_drop", "worse", ("worse + and more",)),
    ]
    assert [one.distance for one in found if one.fits][1] == 0


def test_merges_equal_counts() -> None:
    found = [one for one in explanation("0.4").explanations if one.definition == "robust_accuracy"]
    assert sorted((one.variant.name, one.also) for one in found) == [
        ("the right attack", ("same",)),
        ("worse", ("worse + and more",)),
    ]
    assert sum(one.definition == "clean_accuracy" for one in explanation("0.4").explanations) == 1


def test_document() -> None:
    document = explanation("0.4").to_dict()
    assert document["claim"] == {"text": "0.4", "value": 0.4, "low": 0.35, "high": 0.45, "n": 100}
    assert document["warnings"] == ["beware"]
    assert (document["status"], document["exit_code"]) == ("complete", 0)
    assert [one["definition"] for one in document["honest"]] == [one.definition for one in explanation("0.4").honest]
    assert {tuple(one["mistakes"]) for one in document["explanations"]} == {(), ("worse",)}


def test_rising_accuracy_is_not_a_success() -> None:
    risen = tally((50, 0, 0, 0), (50, 0, 1, 0))
    found = {one.definition: one for one in replace(explanation("0.0"), tallies={CORRECT_VARIANT: risen}).honest}
    assert found["accuracy_drop"].rate == rf.Rate(-50, 50)
    assert found["accuracy_drop"].distance == 1.0
    assert found["error_rate"].fits
