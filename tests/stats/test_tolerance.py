"""Test the tolerance limit by its confidence on drawn samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustbench_fgsm.stats import tolerance
from robustbench_fgsm.stats.tolerance import upper_tolerance_limit


def test_limit_covers_its_share_with_its_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tolerance, "LEAST_FACTOR", 0.0)
    random = np.random.default_rng(0)
    covered = math.exp(4.753424308822899)  # the quantile of 99.9999 % of a standard log-normal variable
    limits = [upper_tolerance_limit(np.exp(random.standard_normal(50)).tolist()) for _ in range(2000)]
    assert 0.93 < np.mean(np.array(limits) > covered) < 0.97


def test_limit_is_above_all_values() -> None:
    assert upper_tolerance_limit([1.0] * 20) == 4.0
    assert upper_tolerance_limit([1e-6] * 100 + [1.0]) >= 4.0
    assert upper_tolerance_limit([1.0, 1.0]) == math.inf
