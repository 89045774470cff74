"""Two batches compared by hand: equal pixels, units in the last place, and images on which one side alone succeeds."""

from __future__ import annotations

import math
from dataclasses import fields
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.comparison.agreement import Agreement, compare_batch, largest_ulps
from robustbench_fgsm.comparison.rounding import RoundingAnalysis
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch
from robustbench_fgsm.spec import AttackSpec, TargetRule

EPSILON = 8 / 255


def attacked(labels: list[int], rule: str = "none") -> AttackedBatch:
    """Images of 2 x 1 pixels and three classes, attacked by ours."""
    torch.manual_seed(0)
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(2, 3)), 3)
    batch = rf.Batch(torch.full((len(labels), 1, 2, 1), 0.5), torch.tensor(labels), torch.arange(len(labels)))
    return attack_batch(classifier, batch, AttackSpec(target=TargetRule.parse(rule)), ("a", "b", "c"))


class FakeAnalysis:
    """Explains nothing, but takes the first image that differs for an underflow, under norms that have one."""

    spec = AttackSpec((EPSILON,))

    def budget(self, x: Tensor) -> float:
        return EPSILON

    def __init__(self, norm: float = math.inf) -> None:
        self.norm = norm

    def rounding_pixels(self, batch: AttackedBatch, rows: Tensor) -> Tensor:
        return torch.zeros(int(rows.sum()), 1, 2, 1, dtype=torch.bool)

    tied_pixels = rounding_pixels

    def subnormal_images(self, batch: AttackedBatch, rows: Tensor, ours: Tensor) -> Tensor:
        return torch.arange(int(rows.sum())) == (0 if self.norm < math.inf else -1)


def agreement(
    ours: object, theirs: object, classes: tuple[list[int], list[int]], batch: AttackedBatch, norm: float = math.inf
) -> Agreement:
    """Of images given by their two pixels each."""
    sides = (torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 2, 1) for pixels in (ours, theirs))
    return compare_batch(cast("RoundingAnalysis", FakeAnalysis(norm)), batch, *sides, *map(torch.tensor, classes))


def same(classes: tuple[list[int], list[int]], batch: AttackedBatch) -> Agreement:
    pixels = [[0.5, 0.5]] * len(batch.batch)
    return agreement(pixels, pixels, classes, batch)


def test_signed_zeros_equal_but_not_nan() -> None:
    found = agreement([[0.0, math.nan]], [[-0.0, math.nan]], ([0], [0]), attacked([0]))
    assert (found.pixels_equal, found.pixels, found.max_ulps, found.pixels_differing) == (1, 2, 0, 1)


def test_last_bit_is_one_ulp() -> None:
    below = float(np.nextafter(np.float32(0.75), np.float32(0)))
    found = agreement([[0.75, 0.25]], [[below, 0.25]], ([0], [0]), attacked([0]))
    assert (found.pixels_equal, found.max_ulps, found.pixels_differing) == (1, 1, 0)


@pytest.mark.parametrize(
    ("pair", "ulps"),
    [
        ((0.5, 0.5 - 2**-25), 1),  # half a unit of the larger, which is 2 ** -24, rounded up
        ((0.5, 0.5 + 3 * 2**-24), 3),
        ((0.75, 0.75 - 4 * 2**-24), 4),
        ((0.0, 2.0**-28), 1),  # the unit at 8/255, which lies between 2 ** -5 and 2 ** -4
        ((0.0, 2.0**-100), 1),
        ((2.0**-28, -(2.0**-28)), 2),
    ],
)
def test_ulps_by_hand(pair: tuple[float, float], ulps: int) -> None:
    left, right = (torch.tensor([pixel], dtype=torch.float32) for pixel in pair)
    assert largest_ulps(left, right, EPSILON) == largest_ulps(right, left, EPSILON) == ulps


pixels = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(pixels, st.integers(-8, 8)), min_size=1, max_size=5), st.floats(2**-20, 1))
def test_ulps_match_exact_arithmetic(pairs: list[tuple[float, int]], epsilon: float) -> None:
    left = np.array([pixel for pixel, _ in pairs], np.float32)
    right = np.array([pixel + step * np.spacing(np.float32(pixel)) for pixel, step in pairs], np.float32)
    expected = 0
    for a, b in zip(left, right, strict=True):
        largest = float(max(abs(a), abs(b), np.float32(epsilon)))
        unit = Fraction(2) ** (math.frexp(largest)[1] - 24)
        expected = max(expected, math.ceil(abs(Fraction(float(a)) - Fraction(float(b))) / unit))
    assert largest_ulps(torch.from_numpy(left), torch.from_numpy(right), epsilon) == expected


def test_no_ulps_for_differing_pixels() -> None:
    found = agreement([[0.9, 0.1]], [[0.1, 0.1]], ([0], [0]), attacked([0]))
    assert (found.max_ulps, found.pixels_differing, found.pixels_equal) == (0, 1, 1)
    assert found.max_abs_difference == found.max_unexplained_difference == pytest.approx(0.8)


def test_discordant_untargeted() -> None:
    labels, ours, theirs = [0, 0, 0, 1, 1, 2], [1, 1, 0, 1, 2, 0], [0, 2, 1, 1, 1, 2]
    found = same((ours, theirs), attacked(labels))
    assert (found.ours_only, found.theirs_only) == (3, 1)


def test_discordant_targeted() -> None:
    labels, ours, theirs = [0, 0, 1, 2, 2], [1, 2, 2, 1, 0], [1, 1, 0, 0, 2]
    found = same((ours, theirs), attacked(labels, "next"))  # targets 1, 1, 2, 0, 0
    assert (found.ours_only, found.theirs_only) == (2, 2)


def test_reason_names_unexplained_images() -> None:
    found = agreement([[0.9, 0.5], [0.5, 0.5]], [[0.1, 0.5], [0.5, 0.4]], ([0, 0], [0, 0]), attacked([0, 0]), norm=2)
    assert (found.images_differing, found.images_subnormal) == (2, 1)
    assert (found.max_abs_difference, found.max_unexplained_difference) == pytest.approx((0.8, 0.1))
    reason, floor = found.disagreement_reasons(2)
    assert reason.startswith("1 of 2 images differ by up to 0.1, ")
    assert floor.startswith("1 of 2 images differ because its step is too short")
    assert found.disagreement_reasons(2, ["floor"]) == [reason]


def test_reason_names_unexplained_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    explained = torch.tensor([[True, False]]).reshape(1, 1, 2, 1)
    monkeypatch.setattr(FakeAnalysis, "rounding_pixels", lambda *_: explained)
    found = agreement([[0.9, 0.5]], [[0.1, 0.4]], ([0], [0]), attacked([0]))
    assert (found.pixels_explained, found.pixels_tied, found.pixels_differing) == (1, 0, 2)
    (reason,) = (text for text in found.disagreement_reasons(math.inf) if "rounding does not" in text)
    assert reason.startswith("1 of 2 pixels differ by up to 0.1, ")


@given(st.lists(st.integers(0, 9), min_size=2 * len(fields(Agreement)), max_size=2 * len(fields(Agreement))))
def test_counts_add_and_maxima_do_not(numbers: list[int]) -> None:
    names = [field.name for field in fields(Agreement)]
    left, right = numbers[: len(names)], numbers[len(names) :]
    values: dict[str, Any] = {
        name: max(a, b) if name.startswith("max") else a + b for name, a, b in zip(names, left, right, strict=True)
    }
    assert Agreement(*left) + Agreement(*right) == Agreement(**values)


def test_parts_add_up_to_the_whole() -> None:
    labels, ours, theirs = ([0, 1, 2, 0], [[0.5, 0.5], [0.1, 0.9], [0, 0], [1, 1]], [[0.5, 0.5], [0.1, 0.8], [0, 1e-7], [1, 1]])
    classes = ([0, 0, 0, 0], [1, 1, 0, 0])
    whole = agreement(ours, theirs, classes, attacked(labels))
    parts = [agreement([ours[i]], [theirs[i]], ([classes[0][i]], [classes[1][i]]), attacked([labels[i]])) for i in range(4)]
    assert sum(parts, Agreement()) == whole


def test_too_much_explained_is_a_disagreement() -> None:
    agreement = Agreement(images=1, images_differing=1, pixels=100, pixels_differing=2, pixels_explained=2, predictions_agree=1)
    assert "more than 1%" in agreement.disagreement_reasons(math.inf)[0]


def test_agreements_add() -> None:
    one = Agreement(images=1, pixels=10, pixels_differing=1, max_abs_difference=0.5)
    assert one + Agreement(images=2, pixels=20, max_abs_difference=0.2) == Agreement(
        images=3, pixels=30, pixels_differing=1, max_abs_difference=0.5
    )
