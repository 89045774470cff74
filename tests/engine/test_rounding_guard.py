"""What rests on rounding is decided in the plain layout, so that `safe` counts what `none` counts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.fashion_mnist import load_fashion_mnist
from robustbench_fgsm.engine import plan, rounding_guard
from robustbench_fgsm.engine.attack_batch import attack_batch
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.spec import AttackSpec, TargetRule

EPSILONS = tuple(k / 255 for k in (1, 2, 4, 8, 12, 16))
PLANNED = Plan("safe", "channels_last", batch_size=128)


class Turned(torch.autograd.Function):
    """Nothing on the way forward; on the way back the sign of one pixel's gradient is turned, as by a tie."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        turned = gradients[0].clone()
        turned[..., 14, 12] *= -1
        return turned


class Turning(nn.Module):
    """A network behind such a step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(Turned.apply(x))
        return found


class Rounding(rf.TorchClassifier):
    """A classifier that in channels-last has other signs, by construction and on any machine."""

    def channels_last(self, images: int) -> rf.TorchClassifier:
        return self.with_network(Turning(copy.deepcopy(self.network)), torch.channels_last)


@pytest.fixture(scope="module")
def data() -> rf.ArrayDataset:
    return load_fashion_mnist().head(1000)


@pytest.fixture(scope="module")
def rounding() -> Rounding:
    """Ten linear filters as large as the image, small enough that nothing is saturated."""
    layer = nn.Conv2d(1, 10, 28, bias=False)  # whose start would hang on the tests before
    with torch.no_grad():
        layer.weight.uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(0))
        layer.weight[..., 14, 12] /= 2  # so that turning one sign moves margins by less than the guard's share
    plain = rf.wrap(nn.Sequential(layer, nn.Flatten()), 10, device="cpu")
    return Rounding(plain.network, 10, None, plain.bounds, plain.info)


def integers(evaluations: Sequence[rf.Evaluation]) -> list[Any]:
    return [
        [
            found.first_fooled,
            *(
                {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(tally).items()}
                for tally in (*found.tallies, *found.stable)
            ),
        ]
        for found in evaluations
    ]


def specs(*rules: str, norm: float = torch.inf, stable: bool = False) -> list[AttackSpec]:
    scale = 1 if norm == torch.inf else 20
    budgets = tuple(scale * epsilon for epsilon in EPSILONS)
    return [AttackSpec(budgets, norm, TargetRule.parse(rule), stable=stable) for rule in rules]


@pytest.mark.parametrize(
    "attacks",
    [specs("none"), specs("next", "least-likely"), specs("none", norm=2), specs("none", stable=True)],
    ids=["untargeted", "targeted", "norm 2", "stable"],
)
def test_guard_keeps_the_counts_of_none(
    rounding: Rounding, data: rf.ArrayDataset, attacks: list[AttackSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = run_attacks(rounding, data, attacks, RunOptions(PLANNED.batch_size, "none"))
    safe = run_attacks(rounding, data, attacks, plan=PLANNED)
    assert integers(safe) == integers(none)
    assert all(0 < found.decided_again < len(data) / 2 for found in safe)
    assert {found.decided_again for found in none} == {0}
    assert safe[0].to_dict()["plan"]["decided_again"] == safe[0].decided_again
    monkeypatch.setattr(rounding_guard, "LOGIT_CHANGE_MARGIN_SHARE", 0.0)
    monkeypatch.setattr(rounding_guard, "SAME_GRADIENT_MARGIN_SHARE", 0.0)
    assert integers(run_attacks(rounding, data, attacks, plan=PLANNED)) != integers(none)


def test_uncertain_images_fill_batches(rounding: Rounding, data: rf.ArrayDataset) -> None:
    """The plain network sees full batches and a last one, and of each, at every budget, what has another direction."""
    sizes: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> None:
        if module is rounding.network and outputs.requires_grad:
            sizes.append(len(outputs))

    handle = rounding.network.register_forward_hook(note)
    (found,) = run_attacks(rounding, data, specs("none"), plan=Plan("safe", "channels_last", batch_size=16))
    handle.remove()
    looked, *gradients = sizes  # one by the preflight
    full, rest = divmod(found.decided_again, 16)
    assert full > 1
    assert looked == 16
    assert sum(gradients) == found.decided_again
    assert len(gradients) <= full + (rest > 0)
    assert all(size >= 16 for size in gradients[:-1])


def test_predicts_only_uncertain_budgets_again(rounding: Rounding, data: rf.ArrayDataset) -> None:
    """Fewer than all of every image that has another direction; and no more images at a time than were waiting."""
    sizes: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> None:
        if module is rounding.network and not outputs.requires_grad:
            sizes.append(len(outputs))

    handle = rounding.network.register_forward_hook(note)
    (found,) = run_attacks(rounding, data, specs("none"), plan=Plan("safe", "channels_last", batch_size=16))
    handle.remove()
    _, *again = sizes  # one by the preflight
    assert max(again) < 32
    assert found.decided_again <= sum(again) < found.decided_again * len(EPSILONS) / 2


def test_saved_images_count_like_evaluated_ones(
    rounding: Rounding, data: rf.ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the plan is that of a stopped run, and is replayed."""
    monkeypatch.setattr(plan, "MEASURED_FORMATS", {})
    monkeypatch.setattr(plan, "measure_attack_seconds", lambda way, *rest: 0.1 if way.memory_format == torch.channels_last else 1.0)
    saved = rf.save_adversarial(rounding, data, tmp_path / "run", EPSILONS[3], shard_size=300)
    found = rf.evaluate(rounding, data, EPSILONS[3])
    assert saved.plan.guarded
    assert found.plan == saved.plan
    assert integers([found])[0][1] == integers([rf.evaluate(rounding, data, EPSILONS[3], optimize="none")])[0][1]
    assert saved.tally.robust_accuracy == found.tallies[0].robust_accuracy
    assert (saved.tally.adversarial == found.tallies[0].adversarial).all()
    monkeypatch.setattr(plan, "measure_attack_seconds", lambda *given: 1.0)
    monkeypatch.setattr(plan, "MEASURED_FORMATS", {})
    (tmp_path / "run" / saved.files[1]["name"]).unlink()
    assert rf.save_adversarial(rounding, data, tmp_path / "run", EPSILONS[3], shard_size=300).files == saved.files
    assert rf.check_adversarial(tmp_path / "run", rounding, data).verified
    with pytest.raises(rf.RunError, match=r"plan.level \"safe\" there, \"none\" now"):
        rf.save_adversarial(rounding, data, tmp_path / "run", EPSILONS[3], shard_size=300, optimize="none")


@pytest.mark.parametrize("rule", ["none", "least-likely"])
def test_zero_gradient_or_margin_is_at_risk(rule: str, images: rf.ArrayDataset) -> None:
    layer = nn.Linear(784, 3)
    nn.init.zeros_(layer.weight)
    batch, spec = next(images.batches(0, 4, 4)), AttackSpec(target=TargetRule.parse(rule))
    batch = rf.Batch(batch.images, batch.labels % 3, batch.ids)
    for bias, expected in (([2.0, 1.0, 0.0], True), ([1.0, 1.0, 0.0], True)):
        layer.bias.data = torch.tensor(bias)
        attacked = attack_batch(rf.wrap(nn.Sequential(nn.Flatten(), layer), 3), batch, spec, ("a", "b", "c"))
        assert rounding_guard.clean_rounding_risk(attacked, spec).all() == expected


def test_risk_depends_on_margin_and_move() -> None:
    before = torch.tensor([[1.0, 0.0]] * 3)
    after = torch.tensor(
        [
            [0.0, 1.0],
            [0.5, 0.5 + 0.9 * rounding_guard.LOGIT_CHANGE_MARGIN_SHARE * 0.5],
            [0.5, 0.5 + 0.5 * rounding_guard.SAME_GRADIENT_MARGIN_SHARE * 0.5],
        ]
    )
    doubt = rounding_guard.rounding_risk(before, after)
    assert doubt.direction.tolist() == [False, True, True]
    assert doubt.prediction.tolist() == [False, False, True]


def test_same_gradient_up_to_rounding() -> None:
    one = torch.tensor([[1.0, -1.0, 0.0]] * 3)
    other = one + torch.tensor([[0.0, 0.0, 0.0], [1e-6, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert rounding_guard.same_gradient(one, other).tolist() == [True, True, False]
