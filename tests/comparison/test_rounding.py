"""Rounding, ties and underflow explain a pixel only if our own gradients say so."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.comparison.agreement import Agreement, compare_batch
from robustbench_fgsm.comparison.rounding import RoundingAnalysis
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch
from robustbench_fgsm.spec import AttackSpec


class Cancelling(nn.Module):
    """The gradient of pixel 0 is 0 in exact arithmetic, -4e-8 in float32 and 3e-17 in float64; that of pixel 1 is plain."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        first = 0.3 * x[:, 0] + 0.6 * x[:, 0] - 0.9 * x[:, 0]
        return torch.stack([first + x[:, 1], torch.zeros_like(first)], 1)


def examined(
    model: nn.Module, *, different_execution: bool = False, norm: float = math.inf
) -> tuple[RoundingAnalysis, AttackedBatch]:
    classifier = rf.wrap(model, 2)
    spec = AttackSpec((0.1,), norm)
    batch = rf.Batch(torch.full((1, 1, 1, 2), 0.5), torch.tensor([0]), torch.tensor([0]))
    analysis = RoundingAnalysis(classifier=classifier, spec=spec, different_execution=different_execution)
    return analysis, attack_batch(classifier, batch, spec, ("a", "b"))


def agreement_at(analysis: RoundingAnalysis, attacked: AttackedBatch, pixel: int) -> Agreement:
    ours = attacked.gradient_step.perturb(analysis.epsilon)
    theirs = ours.clone()
    theirs[0, 0, 0, pixel] += 0.2
    return compare_batch(analysis, attacked, ours, theirs, torch.tensor([0]), torch.tensor([0]))


def test_explains_a_sign_by_rounding() -> None:
    analysis, attacked = examined(Cancelling())
    assert agreement_at(analysis, attacked, 0).pixels_explained == 1
    assert not agreement_at(analysis, attacked, 0).pixels_tied
    assert agreement_at(analysis, attacked, 1).pixels_explained == 0
    assert agreement_at(analysis, attacked, 1).disagreement_reasons(math.inf)


class Tied(nn.Module):
    """Max-pooling over two equal pixels: which of them has the gradient is a matter of execution."""

    def forward(self, x: Tensor) -> Tensor:
        top = nn.functional.max_pool2d(x, (1, 2)).flatten(1)
        return torch.cat([top, -top], 1)


@pytest.mark.parametrize("different_execution", [True, False])
def test_ties_count_for_different_executions(different_execution: bool) -> None:
    analysis, attacked = examined(Tied(), different_execution=different_execution)
    direction = attacked.gradient_step.direction[0, 0, 0]
    found = [agreement_at(analysis, attacked, pixel) for pixel in (0, 1)]
    assert sorted(direction.abs().tolist()) == [0, 1]
    if different_execution:
        assert sum(agreement.pixels_tied for agreement in found) >= 1
    else:
        assert sum(agreement.pixels_tied for agreement in found) == 0


def test_counts_underflow_apart() -> None:
    class Faint(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return 1e-24 * torch.stack([x[:, 0] + 2 * x[:, 1], -x[:, 0]], 1)

    analysis, attacked = examined(Faint(), norm=2)
    ours = attacked.gradient_step.perturb(0.1)
    still = compare_batch(analysis, attacked, ours, attacked.gradient_step.x, torch.tensor([0]), torch.tensor([0]))
    assert (still.images_differing, still.images_subnormal) == (1, 1)
    assert [reason.partition(":")[2] for reason in still.disagreement_reasons(2)] == [" pass --ignore floor to accept them"]
    assert not still.disagreement_reasons(2, ["floor"])
    wrong = compare_batch(analysis, attacked, ours + 0.1, ours, torch.tensor([0]), torch.tensor([0]))
    assert (wrong.images_differing, wrong.images_subnormal) == (1, 0)
    assert wrong.disagreement_reasons(2, ["floor"])


class CancellingInHalf(Cancelling):
    """It casts inside, and so cannot run in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).half()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(super().forward(x).half()).float()  # type: ignore[no-any-return]


class CancellingInFloat(Cancelling):
    """It has weights of float32 and casts to float32 inside, and so cannot run in float64 either."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(super().forward(x).float())  # type: ignore[no-any-return]


@pytest.mark.parametrize("network", [CancellingInHalf, CancellingInFloat])
def test_a_network_that_casts_inside_explains_zeros_alone(network: type[nn.Module]) -> None:
    analysis, attacked = examined(network())
    assert agreement_at(analysis, attacked, 1).pixels_explained == 0
    assert agreement_at(analysis, attacked, 1).disagreement_reasons(math.inf)
