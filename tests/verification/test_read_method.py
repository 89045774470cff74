"""Attacks of FGSM's family: right ones raise no alarm, and wrong ones are named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from tests.verification.candidates import unusual_family
from tests.verification.candidates.family import RIGHT, WRONG, projected
from tests.verification.conftest import checked


@pytest.mark.parametrize("name", [*RIGHT, *unusual_family.RIGHT])
def test_right_attacks_raise_no_alarm(name: str) -> None:
    attack, settings = {**RIGHT, **unusual_family.RIGHT}[name]
    found = rf.verify(attack, time_limit=600.0, **settings)
    assert found.verdict == "right", found.summary
    document = checked(found)
    assert document["method"]["name"] == settings["method"]


@pytest.mark.parametrize("name", [*WRONG, *unusual_family.WRONG])
def test_wrong_attacks_are_named(name: str) -> None:
    attack, settings, stage, cause = {**WRONG, **unusual_family.WRONG}[name]
    found = rf.verify(attack, time_limit=600.0, **settings)
    assert (stage, cause) in {(one.stage, one.cause) for one in found.wrong_stages}, found.summary
    checked(found)


def test_steps_that_follow_no_rule_have_no_size() -> None:
    attack, settings, _, _ = unusual_family.WRONG["every second gradient at the image"]
    found = rf.verify(attack, cases=["rows"], time_limit=600.0, **settings)
    assert [one.stage for one in found.wrong_stages] == ["steps"], found.summary


def test_what_is_no_image_is_said_once() -> None:
    found = rf.verify(lambda model, x, y, epsilon: (x, y), method="pgd", cases=["rows"])
    assert [one.stage for one in found.wrong_stages] == ["output"], found.summary
    assert {one.text for one in found.stages if one.verdict == "unmeasured"} >= {"no call brought images"}


def test_our_own_family_is_right() -> None:
    for name, attack in (("bim", rf.bim), ("pgd", rf.pgd), ("mi-fgsm", rf.mi_fgsm)):
        found = rf.verify(attack, method=name, random_start=name == "pgd", time_limit=600.0)
        assert found.verdict == "right", found.summary


def test_another_loss_is_named() -> None:
    def margin(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = x.clone()
        for _ in range(10):
            leaf = x_adv.clone().requires_grad_()
            loss = nn.functional.multi_margin_loss(model(leaf), y, reduction="sum")
            step = 0.25 * epsilon * torch.autograd.grad(loss, leaf)[0].sign()
            x_adv = (x + (x_adv + step - x).clamp(-epsilon, epsilon)).clamp(0, 1)
        return x_adv

    found = rf.verify(margin, method="pgd", time_limit=600.0)
    assert "loss" in {one.stage for one in found.wrong_stages}, found.summary


def test_an_expected_deviation_is_accepted() -> None:
    found = rf.verify(projected(size=lambda epsilon: epsilon / 3), method="pgd", expect=["wrong-step-size"], time_limit=600.0)
    assert found.verdict == "right", found.summary


def test_an_attack_that_nothing_is_heard_of_is_incomplete() -> None:
    def without_gradient(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        with torch.no_grad():
            right = model(x).argmax(1) == y
        return (x + epsilon * torch.where(right, 1.0, -1.0).view(-1, 1, 1, 1)).clamp(0, 1)

    assert rf.verify(without_gradient, method="bim", time_limit=600.0).verdict == "incomplete"
