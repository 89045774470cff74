"""Requests for a model are validated once."""

from __future__ import annotations

from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.models.request import ModelRequest


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"num_classes": 1}, "num classes must be an integer >= 2, got 1"),
        ({"mean": float("nan")}, "mean must be finite numbers"),
        ({"std": [0.5, 0.0]}, "std must be positive in every channel"),
        ({"bounds": (1.0, 0.0)}, "bounds must be low and high, got 1,0: did you mean 0,1?"),
    ],
)
def test_rejects_invalid_settings(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(rf.SettingError, match=problem):
        ModelRequest("x", "x", **said)
