"""Copies of images: which ones repeat another, and how many independent images they are worth."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.stats.repeated_images import RepeatedImages, effective_number, find_repeats

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


def test_few_copies_are_counted_without_a_warning() -> None:
    hashes = np.arange(200)
    hashes[1] = 0
    found = RepeatedImages.of([(np.zeros(100, np.int64), hashes[:100]), (np.zeros(100, np.int64), hashes[100:])])
    assert (found.n, found.repeats, found.warnings) == (200, 1, [])
    assert RepeatedImages.of([]).warnings == []


def distance_warnings(network: rf.Classifier, data: Any, place: Path) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rf.distances(network, data)
    return [str(one.message) for one in caught]


def lock_warnings(network: rf.Classifier, data: Any, place: Path) -> list[str]:
    rf.evaluate(network, data).save(place)
    return rf.lock(place, place / "robustness.lock").warnings


RESULTS: dict[str, Callable[[Any, Any, Path], Any]] = {
    "evaluate": lambda network, data, place: rf.evaluate(network, data, distance=True).warnings,
    "sweep": lambda network, data, place: rf.sweep(network, data, "1,2/255")[0].warnings,
    "distances": distance_warnings,
    "compare": lambda network, data, place: rf.compare(network, data, references=(), candidate=rf.fgsm).warnings,
    "explain": lambda network, data, place: rf.explain(network, data, 0.5).warnings,
    "transfer": lambda network, data, place: rf.transfer([network], [network], data).warnings,
    "attack": lambda network, data, place: rf.save_adversarial(network, data, place).warnings,
    "lock": lock_warnings,
}


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("result", RESULTS)
def test_every_result_with_intervals_warns_of_copies(result: str, copies: int, tmp_path: Path) -> None:
    made = torch.Generator().manual_seed(0)
    images, labels = torch.rand(30, 1, 4, 4, generator=made).repeat(copies, 1, 1, 1), (torch.arange(30) % 3).repeat(copies)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), 3)
    found = RESULTS[result](network, (images, labels), tmp_path / "run")
    about = [text for text in found if text.startswith("30 of 60 images repeat another image of their class: ")]
    assert len(about) == copies - 1
    assert result == "lock" or all("should be 1.4 times as wide" in text for text in about)
