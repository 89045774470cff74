"""A right candidate with exchangeable parts, readings of its stages, and the check of its document."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.bench_calls import BenchSettings, build_calls
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.iterates import Measured, measure
from robustbench_fgsm.verification.method_bench import build_method_calls
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.stage_result import StageResult
from robustbench_fgsm.verification.verify import run_calls


def right(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    leaf = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(leaf), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    return (x + epsilon * (-grad if targeted else grad).sign()).clamp(0, 1)


def attack(
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    labels: Callable[[nn.Module, Tensor, Tensor], Tensor] = lambda model, x, y: y,
    direction: Callable[[Tensor], Tensor] = torch.sign,
    size: Callable[[float], Any] = lambda epsilon: epsilon,
    clip: Callable[[Tensor, Tensor], Tensor] = lambda moved, x: moved.clamp(0, 1),
    output: Callable[[Tensor], Tensor] = lambda images: images,
) -> Callable[..., Tensor]:
    """FGSM with one part exchanged; the loss may be of the whole batch or one value per image."""

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        leaf = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss(model(leaf), labels(model, x, y)).sum(), leaf)
        return output(clip(x + size(epsilon) * direction(grad), x))

    return fgsm


def wrong_stages(found: rf.Verification) -> list[str]:
    return [reading.stage for reading in found.stages if reading.verdict == "wrong"]


def reading_of(stage: str, candidate: Callable[..., Any]) -> StageResult:
    """The reading of a stage, once no other stage is called wrong."""
    found = rf.verify(candidate)
    assert set(wrong_stages(found)) <= {stage}, found.summary
    return next(reading for reading in found.stages if reading.stage == stage)


def measured_iterates(attack: Callable[..., Any], method: Method, *names: str) -> Measured:
    """What an attack does in some calls of the bench for its method; the first call is `rows`."""
    calls = [one for one in build_method_calls(BenchSettings(), method, targeted=False) if one.name in ("rows", *names)]
    found = measure(method, Evidence.of(run_calls(candidate_from_callable(attack), calls, 600.0)))
    assert found is not None
    return found


def checked(found: rf.Verification) -> dict[str, Any]:
    """The document, once the schema takes it."""
    document: dict[str, Any] = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    Draft202012Validator(load_schema("verification")).validate(document)
    return document


@pytest.fixture(scope="session")
def batch_norm_call() -> AttackCall:
    calls = {call.name: call.call for call in build_calls(BenchSettings(), targeted=False)}
    return calls["batch norm and dropout"]
