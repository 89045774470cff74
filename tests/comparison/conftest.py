"""Images, candidates and the check of a document, for tests of comparisons."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.report.schemas import load_schema


@pytest.fixture(scope="module")
def data() -> rf.Dataset:
    return rf.load_data("fashion-mnist", limit=300)


def right(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    x = x.requires_grad_()
    nn.functional.cross_entropy(model(x), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return (x + epsilon * x.grad.sign() * (-1 if targeted else 1)).clamp(0, 1)


def downhill(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return right(model, x, y, epsilon, targeted=True)


def checked(found: rf.Comparison) -> dict[str, Any]:
    """The document, once the schema takes it."""
    document: dict[str, Any] = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    Draft202012Validator(load_schema("comparison")).validate(document)
    return document
