"""Parsing of a claim, and the rates that fit it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import robustbench_fgsm as rf
from robustbench_fgsm.explanation.claim import Claim, parse_claims
from robustbench_fgsm.stats.rate import wilson_interval


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


@given(count=st.integers(1, 99), digits=st.integers(1, 4), n=st.integers(1, 200))
def test_more_images_exclude_what_fits_because_n_is_small(count: int, digits: int, n: int) -> None:
    rate, claim = rf.Rate(count, 100), Claim.parse(f"{n / 200:.{digits}f}")
    limit = claim.excluded_from_n(rate, 100)
    fits = claim.fits(rate, 100)
    assert (limit is not None) == (fits and claim.distance(rate) != 0)
    if limit is not None:
        low, high = wilson_interval(count / 100, limit)
        assert not (low <= claim.high and claim.low <= high)
        low, high = wilson_interval(count / 100, limit - 2)
        assert low <= claim.high
        assert claim.low <= high


@pytest.mark.parametrize("values", [[0.25, 0.5], (0.25, 0.5), np.array([0.25, 0.5]), ["0.25", "0.5"]])
def test_several_numbers(values: Iterable[float | str]) -> None:
    assert [claim.text for claim in parse_claims(values)] == ["0.25", "0.5"]
    assert [claim.n for claim in parse_claims(values, 50)] == [50, 50]


@pytest.mark.parametrize("value", [1, 0.25, "0.25", np.float64(0.25)])
def test_one_number(value: float | str) -> None:
    assert len(parse_claims(value)) == 1


def test_no_numbers_are_rejected() -> None:
    with pytest.raises(rf.SettingError, match="one number or several, got none"):
        parse_claims([])
