"""Which evaluation and which budget a figure shows."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.figures.selection import select_epsilon, select_evaluation

DOCUMENT = {"evaluations": [{"attack": {"targeted": rule}} for rule in ("next", "none")]}


@pytest.mark.parametrize(("rule", "index"), [(None, 0), ("next", 0), ("none", 1)])
def test_evaluation(rule: str | None, index: int) -> None:
    assert select_evaluation(DOCUMENT, rule) == DOCUMENT["evaluations"][index]


def test_rejects_an_absent_rule() -> None:
    with pytest.raises(SettingError, match="targeted must be a rule of the run, next or none, got 'random'"):
        select_evaluation(DOCUMENT, "random")


@pytest.mark.parametrize(
    ("epsilons", "epsilon", "index"),
    [([4 / 255, 8 / 255, 16 / 255], None, 1), ([4 / 255, 16 / 255, 2 / 255], None, 1), ([4 / 255, 16 / 255], 4 / 255, 0)],
)
def test_epsilon(epsilons: list[float], epsilon: float | None, index: int) -> None:
    assert select_epsilon(epsilons, epsilon) == index


def test_finds_an_epsilon_kept_in_float32() -> None:
    assert select_epsilon([4 / 255, float(np.float32(8 / 255))], 8 / 255, rel_tol=1e-6) == 1


def test_rejects_an_epsilon_that_is_only_near() -> None:
    with pytest.raises(SettingError, match="epsilon must be one of the run"):
        select_epsilon([8 / 255], 0.0313725)


def test_rejects_an_absent_epsilon() -> None:
    with pytest.raises(SettingError, match=r"epsilon must be one with images, 4/255, 8/255, got 5/255: name one of these"):
        select_epsilon([4 / 255, 8 / 255], 5 / 255, "with images")
