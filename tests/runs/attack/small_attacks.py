"""A small saved attack, in each format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf

MakeClassifier = Callable[..., rf.TorchClassifier]
MakeData = Callable[..., rf.ArrayDataset]

FORMATS = ["safetensors", "npz", "png"]
SMALL = Path(__file__).parents[1] / "conftest.py"

each_format = pytest.mark.parametrize("form", FORMATS)


def save(out: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, **settings: Any) -> rf.SavedAttack:
    return rf.save_adversarial(classifier, data, out, **{"shard_size": 10, "batch_size": 4} | settings)
