"""A planned gate: how many images show a drop, from one pilot run and from two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.read import read_saved_run
from robustbench_fgsm.runs.robustness_lock import outcomes_of_run
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.distance import distance_levels
from robustbench_fgsm.stats.paired import drop_p_values

N = 300


@pytest.fixture(scope="module")
def pilots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two networks with distances, and of one without."""
    place, images = tmp_path_factory.mktemp("runs"), rf.load_data("fashion-mnist", limit=N)
    for name, largest in {"300": 0.5, "900": 0.5, "bare": None}.items():
        model = "mlp900" if name == "900" else "mlp300"
        spec = AttackSpec((4 / 255, 8 / 255), max_epsilon=largest)
        evaluate_in_directory(EvaluationRun("evaluate", rf.load_classifier(model), images, (spec,), Plan()), place / name)
    return place


def test_two_pilots_plan_every_criterion(pilots: Path) -> None:
    plan = rf.plan_gate(pilots / "300", pilots / "900")
    assert isinstance(plan, rf.GatePlan)
    Draft202012Validator(load_schema("gate-plan")).validate(json.loads(json.dumps(plan.to_dict())))
    verdict = rf.gate(pilots / "300", pilots / "900")
    assert plan.level == pytest.approx(0.05 / len(verdict.drops))
    assert plan.distance_level == pytest.approx(0.05 / len(verdict.decreases))
    for budget in plan.budgets:
        pairs = next(drop.pairs for drop in verdict.drops if (drop.pairs.label, drop.pairs.epsilon) == (None, budget.epsilon))
        assert (budget.accuracy.count, budget.gained) == (pairs.baseline_correct, min(pairs.lost, pairs.gained) / N)
        assert [criterion.criterion for criterion in budget.criteria] == ["two rates", "McNemar", "distance"]
        for criterion in budget.criteria:
            images = [count for count in criterion.needed if count is not None]
            assert images == sorted(images, reverse=True)
            assert len(images) == len(plan.drops)
            for drop, count in zip(plan.drops, images, strict=True):
                assert criterion.smallest is not None
                assert (count <= N) == (drop >= criterion.smallest)


def test_each_class_has_a_plan_from_its_own_images(pilots: Path) -> None:
    plan, verdict = rf.plan_gate(pilots / "300", pilots / "900"), rf.gate(pilots / "300", pilots / "900")
    classes = {(drop.pairs.label, drop.pairs.epsilon): drop.pairs for drop in verdict.drops}
    assert len(plan.classes) == 10 * len(plan.budgets)
    for budget in plan.classes:
        pairs = classes[budget.label, budget.epsilon]
        assert (budget.accuracy.count, budget.accuracy.n) == (pairs.baseline_correct, pairs.n)
        (mcnemar,) = [one for one in budget.criteria if one.criterion == "McNemar"]
        for drop, images in zip(plan.drops, mcnemar.needed, strict=True):
            assert (images is not None and images <= pairs.n) == (mcnemar.smallest is not None and drop >= mcnemar.smallest)


def test_one_pilot_assumes_that_no_image_is_gained(pilots: Path) -> None:
    alone, paired = rf.plan_gate(pilots / "900"), rf.plan_gate(pilots / "300", pilots / "900")
    assert (alone.baseline, alone.distance_level) == (None, None)
    for one, two in zip(alone.budgets, paired.budgets, strict=True):
        assert (one.accuracy, one.shifts, one.gained) == (two.accuracy, two.shifts, 0)
        assert one.criteria[0] == two.criteria[0]
        assert all((least or 0) < (real or 0) for least, real in zip(one.criteria[1].needed, two.criteria[1].needed, strict=True))
        assert len(one.criteria) == 2


def test_runs_without_distances_plan_the_accuracy(pilots: Path) -> None:
    plan = rf.plan_gate(pilots / "300", pilots / "bare")
    assert all(len(budget.criteria) == 2 and set(budget.shifts) == {None} for budget in plan.budgets)


def test_the_images_needed_show_the_drop(pilots: Path) -> None:
    """Simulated pairs of runs with the planned drop, tested at the level of the gate."""
    plan = rf.plan_gate(pilots / "300", pilots / "900", (0.08,))
    at = plan.budgets[-1]
    (n,) = at.criteria[1].needed
    assert n is not None
    shares = [at.gained + 0.08, at.gained, 1 - 2 * at.gained - 0.08]
    drawn = np.random.default_rng(0).multinomial(n, shares, 4000)
    found = drop_p_values(drawn[:, 0], drawn[:, 1], n, 0.01) < plan.level
    assert found.mean() == pytest.approx(0.8, abs=0.06)


def test_a_shift_lowers_the_accuracy_by_the_drop(pilots: Path) -> None:
    plan = rf.plan_gate(pilots / "900", drops=(0.05, 0.1))
    positions = outcomes_of_run(read_saved_run(pilots / "900")).attacks[0].positions(stable=plan.stable)
    assert positions is not None
    distances = distance_levels(0.5)[positions].astype(np.float32)
    for budget in plan.budgets:
        for drop, shift in zip(plan.drops, budget.shifts, strict=True):
            assert shift is not None
            lost = (distances > budget.epsilon) & (distances <= np.float32(budget.epsilon + shift) + 1e-7)
            before = (distances > budget.epsilon) & (distances < np.float32(budget.epsilon + shift) - 1e-7)
            assert before.sum() < drop * N <= lost.sum()


def test_drops_that_no_number_of_images_shows(pilots: Path) -> None:
    plan = rf.plan_gate(pilots / "300", pilots / "900", (0.99,), max_drop=0.98)
    assert all(criterion == type(criterion)(criterion.criterion, (None,), None) for at in plan.budgets for criterion in at.criteria)


@pytest.mark.parametrize(
    ("drops", "options", "message"),
    [
        ((0.01,), {}, "each drop must be larger than max drop 0.01, got 0.01: pass larger drops"),
        ("0.02,x", {}, "drops must be numbers with commas between them, got 0.02,x: try 0.02,0.05"),
        ((), {}, "drops must hold a number"),
        ((5,), {}, "each drop must be a share in"),
        ((float("nan"),), {}, "each drop must be a share in"),
        ((0.1,), {"on": "distances"}, "on must be one of"),
        ((0.1,), {"alpha": 0.7}, "alpha must lie"),
        ((0.1,), {"max_decrease": "1,2/255"}, "max decrease must be one number"),
    ],
)
def test_settings_are_checked(pilots: Path, drops: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        rf.plan_gate(pilots / "300", None, drops, **options)


def test_both_criteria_share_the_level(pilots: Path) -> None:
    assert rf.plan_gate(pilots / "300", on="both").level == pytest.approx(rf.plan_gate(pilots / "300").level / 2)
    assert rf.plan_gate(pilots / "300", drops="0.02,0.05").drops == (0.02, 0.05)
