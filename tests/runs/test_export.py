"""Outcomes of single images as rows of a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.runs.export import get_export_writer, minimal_epsilons, sample_rows, sample_table
from robustbench_fgsm.spec import AttackSpec, TargetRule
from robustbench_fgsm.stats.tally import BatchOutcomes

SPEC = AttackSpec((0.5, 0.25))
NO = np.zeros(3, bool)
OUTCOMES = BatchOutcomes(
    ids=np.array([7, 8, 9]),
    labels=np.array([0, 1, 2]),
    before=np.array([0, 1, 0]),  # the third image is wrong before the attack
    after=np.array([[1, 2], [2, 1], [2, 0]]),
    targets=None,
    zero_gradient=NO,
    nonfinite_gradient=NO,
    saturated=np.array([False, True, False]),
)


def test_minimal_epsilon_is_the_smallest_that_fools() -> None:
    assert minimal_epsilons(OUTCOMES, SPEC)[:2].tolist() == [0.25, 0.5]


def test_minimal_epsilon_is_nan_for_robust_images() -> None:
    robust = replace(OUTCOMES, after=np.array([[0, 0], [1, 1], [2, 2]]))
    assert np.isnan(minimal_epsilons(robust, SPEC)[:2]).all()


def test_columns() -> None:
    table = sample_table(OUTCOMES, SPEC)
    assert table["id"].tolist() == [7, 8, 9]
    assert table["after_0.5"].tolist() == [1, 2, 2]
    assert table["after_0.25"].tolist() == [2, 1, 0]
    assert table["saturated"].tolist() == [False, True, False]


def test_untargeted_rows_have_no_target() -> None:
    assert [row["target"] for row in sample_rows(sample_table(OUTCOMES, SPEC))] == [None] * 3


def test_targeted_rows() -> None:
    spec = AttackSpec((0.5, 0.25), target=TargetRule("shift", 1))
    rows = list(sample_rows(sample_table(replace(OUTCOMES, targets=np.array([1, 2, 0])), spec)))
    assert [row["target"] for row in rows] == [1, 2, 0]
    assert {row["targeted"] for row in rows} == {"next"}


def test_rows_have_null_for_nan() -> None:
    robust = replace(OUTCOMES, after=np.array([[0, 0], [1, 1], [2, 2]]))
    assert next(sample_rows(sample_table(robust, SPEC)))["minimal_epsilon"] is None


@pytest.mark.parametrize("name", ["samples.txt", "samples", "samples.CSV.gz"])
def test_rejects_other_formats(name: str) -> None:
    with pytest.raises(rf.SettingError, match=r"--export takes \.csv, \.jsonl, \.parquet"):
        get_export_writer(Path(name))
