"""Tests of robustbench_fgsm.global_generators."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from robustbench_fgsm.global_generators import preserve_generators, seed_generators


def draw() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


@preserve_generators()
def draw_and_fail() -> None:
    seed_generators(4)
    draw()
    raise ValueError("odd")


def test_generators_are_restored_also_after_an_error() -> None:
    seed_generators(3)
    expected = draw()
    seed_generators(3)
    with pytest.raises(ValueError, match="odd"):
        draw_and_fail()
    assert draw() == expected


def test_a_seed_fixes_what_is_drawn() -> None:
    with preserve_generators():
        seed_generators(2**40)
        first = draw()
        seed_generators(2**40)
        assert draw() == first
