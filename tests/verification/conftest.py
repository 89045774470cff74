"""A right candidate and the check of its document, for tests of several modules."""

from __future__ import annotations

import json
from typing import Any

import torch
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.report.schemas import load_schema


def right(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    leaf = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(leaf), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    return (x + epsilon * (-grad if targeted else grad).sign()).clamp(0, 1)


def checked(found: rf.Verification) -> dict[str, Any]:
    """The document, once the schema takes it."""
    document: dict[str, Any] = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    Draft202012Validator(load_schema("verification")).validate(document)
    return document
