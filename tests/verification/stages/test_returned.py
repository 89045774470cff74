"""Which iterate comes back, and to which range iterates are clipped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from robustbench_fgsm.verification.methods import parse_method
from robustbench_fgsm.verification.stage_result import ok
from robustbench_fgsm.verification.stages.returned import read_iterate_clip, read_returned_iterate
from tests.verification.candidates.family import (
    Attack,
    best_of_batch,
    box,
    clips_before_projection,
    clips_before_the_step,
    gradient,
    in_box,
    keeps_each_success,
    projected,
    twice,
)
from tests.verification.conftest import measured_iterates

PGD = parse_method("pgd")
AS_GIVEN = ok("output", "as given")
ROUGH = ("rough", "rough, other images")


def each_failure(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """PGD that keeps the last iterate of each image that does not fool the network."""
    x_adv, kept = x.clone(), x.clone()
    for _ in range(10):
        with torch.no_grad():
            right = model(x_adv).argmax(1) == y
        kept[right] = x_adv[right]
        x_adv = (x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)).clamp(0, 1)
    return kept


@pytest.mark.parametrize(
    ("attack", "cause", "text"),
    [
        (projected(), None, "the last iterate, as given"),
        (keeps_each_success, None, "an iterate of each image that fools the network"),
        (each_failure, "wrong-iterate", "come back as an iterate that does not fool the network, although another one does"),
        (best_of_batch, "best-of-batch", "one iterate for the whole batch, another one from batch to batch"),
        (twice, "perturbation-twice", "the perturbation of the last iterate, 2 times"),
    ],
)
def test_returned(attack: Attack, cause: str | None, text: str) -> None:
    found = read_returned_iterate(measured_iterates(attack, PGD, *ROUGH), AS_GIVEN)
    assert (found.verdict, found.cause) == ("wrong" if cause else "ok", cause), found.text
    assert text in found.text


def unclipped(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        x_adv = x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)
    return x_adv


def of_other_images(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone()
    for _ in range(10):
        x_adv = (x + box(x_adv + 0.25 * epsilon * gradient(model, x_adv, y).sign() - x, epsilon)).clamp(-1, 1)
    return x_adv


def clips_the_result(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return unclipped(model, x, y, epsilon).clamp(0, 1)


@pytest.mark.parametrize(
    ("attack", "norm", "cause", "order"),
    [
        (projected(), "inf", None, "after"),
        (clips_before_projection, "2", None, "before"),
        (clips_before_the_step, "inf", "no-clip", None),
        (unclipped, "inf", "no-clip", None),
        (of_other_images, "inf", "wrong-clip-range", None),
        (clips_the_result, "inf", "clips-result-only", None),
    ],
)
def test_clips(attack: Attack, norm: str, cause: str | None, order: str | None) -> None:
    found = read_iterate_clip(measured_iterates(attack, parse_method("pgd", norm), "levels"))
    assert (found.verdict, found.cause, found.measured.get("order")) == ("wrong" if cause else "ok", cause, order), found.text


def test_a_start_outside_of_the_bounds_is_said() -> None:
    def start(x: Tensor, epsilon: float) -> Tensor:
        return x + torch.empty_like(x).uniform_(-epsilon, epsilon)

    method = parse_method("pgd", start=True)
    texts = [read_iterate_clip(measured_iterates(projected(start=one), method, "levels")).text for one in (start, in_box)]
    assert "; the random start reaches -" in texts[0]
    assert texts[0].startswith(texts[1])
