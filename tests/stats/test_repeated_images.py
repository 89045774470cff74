"""Copies of images: which ones repeat another, and how many independent images they are worth."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_fgsm.stats.repeated_images import effective_number, find_repeats

LABELS, HASHES, IDS = np.array([0, 0, 1, 0, 0]), np.array([7, 7, 7, 5, 7]), np.array([9, 2, 0, 1, 4])


def test_the_smallest_id_of_equal_images_is_no_repeat() -> None:
    assert find_repeats(LABELS, HASHES, IDS).tolist() == [True, False, False, False, True]


def test_order_changes_nothing() -> None:
    order = np.array([3, 0, 4, 2, 1])
    assert (find_repeats(LABELS[order], HASHES[order], IDS[order]) == find_repeats(LABELS, HASHES, IDS)[order]).all()


def test_no_image_repeats_nothing() -> None:
    none = np.zeros(0, np.int64)
    assert not len(find_repeats(none, none, none))
    assert effective_number(none, none) == 0


@pytest.mark.parametrize("copies", [[1, 1, 1], [4, 4, 4], [1, 2, 5]])
def test_effective_number_has_the_variance_of_the_rate(copies: list[int]) -> None:
    hashes = np.repeat(np.arange(3), copies)
    n = len(hashes)
    right = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1)  # each image right with probability 1/2
    variance = np.var([np.repeat(column, copies).sum() / n for column in right.T])
    assert 0.25 / effective_number(np.zeros(n, np.int64), hashes) == pytest.approx(variance)
