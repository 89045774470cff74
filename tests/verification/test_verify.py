"""A candidate in the table of cases: whatever it does is its result."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID, MISTAKES
from robustbench_fgsm.verification.cases import CASES, Case, link_calls


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


def test_a_right_one_passes_every_case() -> None:
    document = checked(rf.verify(right))
    assert (document["verdict"], document["exit_code"], document["diagnosis"]) == ("right", 0, [])
    assert [case["name"] for case in document["cases"]] == list(CASES)
    assert all(case["passed"] for case in document["cases"])
    assert {warning["cause"] for warning in document["warnings"]} == {"nan-hidden", "saturation-cancellation"}


def test_ours_leaves_no_doubt_where_float32_can_tell() -> None:
    def exact(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return rf.fgsm(model, x, y, epsilon, stable=True)

    assert [doubt.cause for doubt in rf.verify(exact, strict=True).harmless_findings] == []
    assert rf.verify(exact, strict=True).verdict == "right"


def test_one_that_cannot_target_is_not_asked_to() -> None:
    def untargeted(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return right(model, x, y, epsilon)

    assert "targeted" not in [result.case.name for result in rf.verify(untargeted).results]
    assert rf.verify(untargeted).verdict == "right"


def test_one_that_raises_goes_on_with_the_next_case() -> None:
    def grey_only(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if x.shape[1] != 1:
            raise ValueError("grey images only")
        return right(model, x, y, epsilon)

    document = checked(rf.verify(grey_only))
    assert (document["verdict"], document["exit_code"]) == ("wrong", 1)
    passed = {case["name"]: case["passed"] for case in document["cases"]}
    assert passed["grey"] is True
    assert passed["colour"] is False
    assert passed["not-finite"] is True
    (finding,) = document["diagnosis"]
    assert finding["cause"] == "raises"
    assert "in case colour it raises ValueError: grey images only" in finding["evidence"]


@pytest.mark.parametrize(
    ("result", "evidence"),
    [
        (lambda x: x[:, :, :4], "(8, 1, 4, 8)"),
        (lambda x: 0.5, "float"),
        (lambda x: (x, x), "a tuple of 2"),
        (lambda x: None, "NoneType"),
        (lambda x: (x * 255).to(torch.uint8), "torch.uint8"),
        (lambda x: x * float("nan"), "NaN"),
        (lambda x: np.zeros(3), "(3,)"),
    ],
    ids=["shape", "scalar", "tuple", "none", "dtype", "nan", "array"],
)
def test_one_that_returns_something_else_is_named(result: Any, evidence: str) -> None:
    def other(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> object:
        return result(x)

    found = rf.verify(other, cases=["grey"])
    assert (found.verdict, [finding.cause for finding in found.diagnosis]) == ("wrong", ["wrong-result"])
    assert evidence in found.diagnosis[0].evidence
    checked(found)


def test_one_that_hangs_is_stopped_once_a_case() -> None:
    def slow(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if x.shape[1] == 1:
            time.sleep(60)
        return right(model, x, y, epsilon)

    began = time.monotonic()
    found = rf.verify(slow, cases=["grey", "colour"], time_limit=0.2)
    assert time.monotonic() - began < 30
    assert [result.passed for result in found.results] == [False, True]
    assert [finding.cause for finding in found.diagnosis] == ["time-limit"]


def test_one_that_deletes_a_parameter_spoils_its_own_copy_only() -> None:
    def deleting(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = right(model, x, y, epsilon)
        del model.network.body[-1].weight
        return x_adv

    found = rf.verify(deleting, cases=["grey", "wrong-before"])
    assert [result.passed for result in found.results] == [False, False]
    assert "added or removed" in found.results[1].detail  # its first call was right, on a network that was whole
    assert "wrong, by up to" not in found.results[1].detail
    assert found.diagnosis[0].cause == "changes-model"


def test_side_effects_are_warnings_and_failures_when_strict() -> None:
    def backward(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x = x.clone().requires_grad_()
        nn.functional.cross_entropy(model(x), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        return (x + epsilon * x.grad.sign()).clamp(0, 1)

    found = rf.verify(backward, cases=["colour"])
    assert (found.verdict, found.diagnosis) == ("right", ())
    assert {doubt.cause for doubt in found.harmless_findings} == {"parameter-gradients-left", "graph-attached"}
    assert rf.verify(backward, cases=["colour"], strict=True).verdict == "wrong"
    meant = rf.verify(backward, cases=["colour"], strict=True, expect=["parameter-gradients-left", "graph-attached"])
    assert (meant.verdict, meant.harmless_findings) == ("right", ())


def random_start(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    start = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
    moved = right(model, start, y, epsilon)
    return (x + (moved - x).clamp(-epsilon, epsilon)).clamp(0, 1)


def test_a_random_start_that_was_asked_for_is_a_warning() -> None:
    asked = rf.verify(random_start, expect=["random-start"])
    assert (asked.verdict, asked.diagnosis) == ("right", ())
    assert "random-start" in {doubt.cause for doubt in asked.harmless_findings}
    assert rf.verify(random_start).diagnosis[0].cause == "random-start"


def test_what_nobody_knows_is_said_to_be_unknown_with_the_pixels_that_show_it() -> None:
    def odd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        moved = right(model, x, y, 1e-3) - x
        return (x + epsilon * torch.sin(1000 * x * moved.sign())).clamp(0, 1)

    (finding,) = rf.verify(odd, cases=["colour", "grey"]).diagnosis
    assert finding.cause == "unknown"
    assert "no known mistake explains them" in finding.evidence
    assert finding.evidence.count("gradient ") == 3


def test_a_case_of_ones_own_and_only_some_cases() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    scene = AttackCall(model, torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1]), 0.1)
    mine = Case("mine", "a linear network", link_calls([scene]))
    found = rf.verify(right, cases=["grey"], extra=[mine])
    assert [(result.case.name, result.passed) for result in found.results] == [("grey", True), ("mine", True)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cases": ["gray"]}, "did you mean grey"),
        ({"expect": ["random"]}, "did you mean random-start"),
        ({"time_limit": 0}, "seconds > 0"),
        ({"style": "plan"}, "did you mean plain"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(rf.SettingError, match=said):
        rf.verify(right, **given)


def test_the_table_of_mistakes_is_sound() -> None:
    assert len(MISTAKE_BY_ID) == len(MISTAKES)
    assert MISTAKE_BY_ID.keys() >= HARMLESS_IDS
    assert not any(mistake.stage_changes for mistake in MISTAKES if mistake.id in HARMLESS_IDS)


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_the_same_each_time_and_leaves_the_global_generator_alone(name: str) -> None:
    state = torch.get_rng_state()
    one, other = CASES[name](), CASES[name]()
    assert torch.equal(torch.get_rng_state(), state)
    for mine, theirs in zip(one.calls, other.calls, strict=True):
        assert torch.equal(mine.x, theirs.x)
        assert torch.equal(mine.y, theirs.y)
        assert torch.equal(mine.model(mine.x), theirs.model(theirs.x))
