"""Settings that make no sense are refused with what was got and what to try."""

from __future__ import annotations

from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.training.recipe import TrainingRecipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "n-fgms"}, "method must be one of .*, got 'n-fgms': did you mean n-fgsm"),
        ({"optimizer": "lamb"}, "optimizer must be one of adam, sgd, got 'lamb'"),
        ({"schedule": "cosin"}, "did you mean cosine"),
        ({"craft_mode": "test"}, "craft mode must be one of train, eval, got 'test'"),
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"batch_size": 1}, "batch size must be an integer >= 2, got 1"),
        ({"learning_rate": 0.0}, "learning rate must be a number > 0, got 0"),
        ({"learning_rate": float("nan")}, "learning rate must be a number > 0, got nan"),
        ({"noise": -1.0}, "noise must be a number >= 0, got -1"),
        ({"mix": 1.5}, r"mix must be a share in \[0, 1\], got 1.5"),
        ({"seed": 2**63}, "seed must be an integer <= 9223372036854775807, got 9223372036854775808"),
        ({"early_stop": 2, "held_out": 0}, "early stop needs held-out images"),
        ({"keep": "best", "held_out": 0}, "keep best needs held-out images"),
    ],
    ids=str,
)
def test_rejects(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        TrainingRecipe(**settings)


def test_keeps_best() -> None:
    kept = {method: TrainingRecipe(method).keeps_best for method in ("standard", "fgsm", "fgsm-rs", "n-fgsm", "static")}
    assert kept == {"standard": False, "fgsm": True, "fgsm-rs": True, "n-fgsm": True, "static": False}
    assert TrainingRecipe("standard", keep="best").keeps_best
    assert not TrainingRecipe("fgsm", keep="last").keeps_best
    assert not TrainingRecipe("fgsm", held_out=0).keeps_best
