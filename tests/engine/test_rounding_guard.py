"""Test that `safe` counts what `none` counts: bounds are measured, risky predictions are plain, and an audit looks for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.fashion_mnist import load_fashion_mnist
from robustbench_fgsm.engine import choose_plan as chooser
from robustbench_fgsm.engine.choose_plan import choose_plan
from robustbench_fgsm.engine.rounding_guard import RoundingGuard, measure_margins
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.spec import AttackSpec, TargetRule
from tests.engine.unusual_networks import Rounding, make_rounding

EPSILONS = tuple(k / 255 for k in (1, 2, 4, 8, 12, 16))
SIZE = 100


@pytest.fixture(scope="module")
def data() -> rf.ArrayDataset:
    return load_fashion_mnist().head(2000)


@pytest.fixture
def rounding() -> Rounding:
    """A classifier with other rounding errors under a plan."""
    return make_rounding()


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


def faster(planned: Any, *_: object) -> float:
    return 0.1 if planned.plan.guarded else 1.0


@pytest.fixture(autouse=True)
def _plan_seems_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "measure_attack_seconds", faster)


@pytest.mark.parametrize(
    "attacks",
    [specs("none"), specs("next", "least-likely"), specs("none", norm=2), specs("none", stable=True)],
    ids=["untargeted", "targeted", "norm 2", "stable"],
)
def test_guard_keeps_the_counts_of_none(
    rounding: Rounding, data: rf.ArrayDataset, attacks: list[AttackSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    none, safe = (run_attacks(rounding, data, attacks, RunOptions(SIZE, level)) for level in ("none", "safe"))
    assert integers(safe) == integers(none)
    assert all(found.plan.guarded and 0 < found.decided_again < len(data) / 2 for found in safe)
    assert {found.decided_again for found in none} == {0}
    assert all(450 < found.audit.audited < 750 and not found.audit.differing for found in safe)
    document = safe[0].to_dict()["plan"]
    assert document["decided_again"] == safe[0].decided_again
    assert document["audit"] == safe[0].audit.to_dict()
    monkeypatch.setattr(RoundingGuard, "at_risk", lambda guard, outputs: torch.zeros(len(outputs), dtype=torch.bool))
    monkeypatch.setattr(RoundingGuard, "draw_audit", lambda guard, ids, seed: torch.zeros(len(ids), dtype=torch.bool))
    unguarded = run_attacks(rounding, data, attacks, RunOptions(SIZE, "safe"))
    assert all(found.plan.guarded for found in unguarded), unguarded[0].plan.reason
    assert integers(unguarded) != integers(none)


def test_audit_finds_what_the_trial_missed(rounding: Rounding, data: rf.ArrayDataset) -> None:
    """The mistake is in some of the brightest images, none of which is a trial image."""
    (batch,) = data.batches(0, len(data), len(data))
    brightness = batch.images.mean((1, 2, 3))
    trial, attacks = torch.arange(0, 2000, 2000 // 25), [AttackSpec((0.5 / 255, 1 / 255))]
    rounding.brightness = float(brightness[trial].max()) + 1 / 255
    assert 3 < int((brightness > rounding.brightness).sum()) < 200
    none, safe = (run_attacks(rounding, data, attacks, RunOptions(25, level)) for level in ("none", "safe"))
    assert integers(safe) == integers(none)
    assert safe[0].plan.is_plain
    assert "predictions differed from the plain network" in safe[0].plan.reason
    assert safe[0].to_dict()["plan"]["audit"] is None


def test_bounds_are_measured() -> None:
    plain = torch.tensor([[4.0, 1.0, 0.0], [-8.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    planned = plain + torch.tensor([[1e-3, 0.0, -1e-3], [0.0, 0.0, 4e-3], [0.0, 0.0, 0.0]])
    guard = RoundingGuard.measure([(plain[:2], planned[:2]), (plain[2:], planned[2:])], 6000)
    assert guard.images == 3
    assert guard.largest == pytest.approx(2e-3 / 4, rel=1e-3)
    assert guard.absolute >= 4 * 4e-3
    assert guard.relative >= 4 * guard.largest
    assert guard.audit_share == pytest.approx(0.1)


def test_equal_outputs_still_have_a_bound() -> None:
    outputs = torch.rand(100, 10) + 1
    guard = RoundingGuard.measure([(outputs, outputs)], 2000)
    assert guard.largest == pytest.approx(2.0**-24)
    assert 2.0**-22 <= guard.relative < 2.0**-20


def test_risk_depends_on_margin_and_size() -> None:
    outputs = torch.tensor([[1.0, 0.0], [1.0, 0.991], [100.0, 99.5], [0.0, 0.0], [torch.nan, 0.0], [torch.inf, 0.0], [1.0, 0.98]])
    guard = RoundingGuard(0.01, 0.004, 100, 1e-3, 0.1)
    assert guard.at_risk(outputs).tolist() == [False, True, False, True, True, True, False]
    assert RoundingGuard(0.01, 0.006, 100, 1e-3, 0.1).at_risk(outputs)[2]


def test_margins() -> None:
    outputs = torch.tensor([[1.0, 3.0, -4.0], [1.0, 1.0, 0.0]])
    assert measure_margins(outputs).tolist() == [[2.0, 0.5], [0.0, 0.0]]
    assert torch.equal(measure_margins(torch.stack([outputs, -outputs], 1))[:, 0], measure_margins(outputs))
    assert measure_margins(torch.ones(1, 1)).tolist() == [[torch.inf, torch.inf]]


def test_audit_is_drawn_by_seed_and_id() -> None:
    guard, ids = RoundingGuard(0.0, 0.0, 100, 0.0, 0.06), np.arange(10_000)
    drawn = guard.draw_audit(ids, 0)
    assert 500 < int(drawn.sum()) < 700
    assert torch.equal(guard.draw_audit(ids[::-1].copy(), 0), drawn.flip(0))
    both = int((drawn & guard.draw_audit(ids, 1)).sum())
    assert both < 100  # 36 are expected of independent draws
    assert guard.draw_audit(np.array([-1, 2**62]), 2**70).shape == (2,)
    assert RoundingGuard(0.0, 0.0, 100, 0.0, 1.0).draw_audit(ids, 0).all()


def test_every_bundled_network_counts_as_without_a_plan(data: rf.ArrayDataset) -> None:
    for name, weights in (("resnet18", "standard"), ("smallcnn", "standard"), ("smallcnn", "robust"), ("mlp300", "standard")):
        classifier = rf.load_classifier(name, weights=weights, device="cpu")
        some, attacks = data.head(100), [AttackSpec(EPSILONS[3:5])]
        none = run_attacks(classifier, some, attacks, RunOptions(SIZE, "none"))
        plan = choose_plan(classifier, data, attacks, RunOptions(20, "safe"), timer=faster)
        assert plan.guarded == (name != "mlp300")
        safe = run_attacks(classifier, some, attacks, plan=replace(plan, batch_size=SIZE))
        assert integers(safe) == integers(none)
