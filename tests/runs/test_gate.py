"""The verdict of a gate: how often it is wrong, and what it says of a few pairs."""

from __future__ import annotations

import json
from dataclasses import replace
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
from robustbench_fgsm.runs.gate import assess_drops
from robustbench_fgsm.runs.paired import PairedRunCounts
from robustbench_fgsm.runs.read import read_saved_run
from robustbench_fgsm.runs.robustness_lock import lock_run
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.paired import drop_p_values, holm

TRIALS, CLASSES, IMAGES, ALLOWED, ALPHA = 4000, 5, 120, 0.02, 0.05


def family(drop: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lost and gained (TRIALS, CLASSES + 1) of classes that all drop by so much, and of all their images; n (CLASSES + 1)."""
    changes = [drop + 0.06, 0.06, 1 - drop - 0.12]
    drawn = np.random.default_rng(seed).multinomial(IMAGES, changes, (TRIALS, CLASSES))
    whole = np.concatenate([drawn.sum(1, keepdims=True), drawn], axis=1)
    return whole[..., 0], whole[..., 1], np.array([CLASSES * IMAGES, *[IMAGES] * CLASSES])


def failures(drop: float) -> float:
    """The share of gates that fail where the true drop is this one."""
    lost, gained, n = family(drop, seed=0)
    p = drop_p_values(lost, gained, n, ALLOWED)
    return float(np.mean([holm(row, ALPHA)[0].any() for row in p]))


def test_false_positive_rate_is_at_most_alpha() -> None:
    error = 3 * (ALPHA * (1 - ALPHA) / TRIALS) ** 0.5
    assert 0.005 < failures(ALLOWED) <= ALPHA + error
    assert failures(ALLOWED + 0.1) > 0.95


def at(lost: int, gained: int, n: int, label: int | None = None) -> PairedRunCounts:
    return PairedRunCounts("none", 0.1, label, n, lost + (n - lost - gained) // 2, lost, gained)


@pytest.mark.parametrize(
    ("lost", "gained", "n", "exceeds", "within"),
    [
        (0, 0, 10_000, False, True),
        (0, 0, 1, False, False),
        (1, 0, 1, False, False),
        (100, 0, 100, True, False),
        (0, 100, 100, False, True),
        (300, 280, 1000, False, False),
    ],
)
def test_a_single_place(lost: int, gained: int, n: int, exceeds: bool, within: bool) -> None:
    (drop,) = assess_drops([at(lost, gained, n)], ALLOWED)
    assert (drop.exceeds, drop.within) == (exceeds, within) == (drop.low > ALLOWED, drop.high < ALLOWED)


def test_more_places_need_more_evidence() -> None:
    alone, other = at(22, 4, 300), at(0, 0, 300)
    assert assess_drops([alone], ALLOWED)[0].exceeds
    assert not assess_drops([alone, *[other] * 30], ALLOWED)[0].exceeds
    for drop in assess_drops([at(90, 4, 300), alone, other, at(0, 40, 300)], ALLOWED):
        assert (drop.exceeds, drop.within) == (drop.low > ALLOWED, drop.high < ALLOWED)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two networks with distances, and of one without."""
    place, images = tmp_path_factory.mktemp("runs"), rf.load_data("fashion-mnist", limit=300)
    for name, largest in {"300": 0.5, "900": 0.5, "bare": None, "other": 0.25, "small": 0.02}.items():
        model = "mlp900" if name == "900" else "mlp300"
        spec = AttackSpec((0.01, 0.03), max_epsilon=largest) if name == "small" else AttackSpec(max_epsilon=largest)
        evaluate_in_directory(EvaluationRun("evaluate", rf.load_classifier(model), images, (spec,), Plan()), place / name)
    return place


def test_distances_of_two_runs_are_paired(measured: Path) -> None:
    found = rf.gate(measured / "300", measured / "900", on="distance")
    whole, *classes = found.decreases
    assert (whole.label, whole.n, len(classes)) == (None, 300, 10)
    assert found.passed == (not any(test.exceeds for test in found.decreases))
    (moved,) = found.moved
    assert moved.below + moved.above + moved.lost + moved.gained == 300
    Draft202012Validator(load_schema("gate")).validate(json.loads(json.dumps(found.to_dict())))


def test_a_run_against_itself_passes(measured: Path) -> None:
    for criterion in ("accuracy", "distance", "both"):
        found = rf.gate(measured / "300", measured / "300", on=criterion)
        assert found.passed
        assert all(test.closer == 0 for test in found.decreases)


def test_a_baseline_without_right_images_is_said(tmp_path: Path) -> None:
    images, spec = rf.load_data("fashion-mnist", limit=200), AttackSpec((0.01, 0.3))
    for name in ("mlp300", "mlp900"):
        evaluate_in_directory(EvaluationRun("evaluate", rf.load_classifier(name), images, (spec,), Plan()), tmp_path / name)
    found = rf.gate(tmp_path / "mlp900", tmp_path / "mlp300")
    (warning,) = found.warnings
    assert (
        "the baseline has 0 of 200 images right at epsilon 0.3, so no drop above 0.01 can be shown: gate on a smaller epsilon"
        in warning
    )


def test_both_criteria_share_the_level(measured: Path) -> None:
    sides = measured / "300", measured / "900"
    alone, both = rf.gate(*sides, on="distance", alpha=0.02), rf.gate(*sides, on="both", alpha=0.04)
    assert alone.decreases == both.decreases


@pytest.mark.parametrize("baseline", ["bare", "other"])
def test_distances_are_needed_on_both_sides(measured: Path, baseline: str) -> None:
    assert rf.gate(measured / "300", measured / baseline).decreases == ()
    found = {"bare": "none", "other": "those up to 0.25"}[baseline]
    with pytest.raises(rf.RunError, match=f"got those up to 0.5 and {found}: measure both with --distance and the same --max-eps"):
        rf.gate(measured / "300", measured / baseline, on="distance")


def test_a_budget_beyond_the_distances_has_no_sides(measured: Path) -> None:
    found = rf.gate(measured / "small", measured / "small")
    assert found.decreases
    assert [moved.epsilon for moved in found.moved] == [0.01]


@pytest.mark.parametrize(("run", "baseline", "change"), [("300", "300", "none"), ("300", "900", "architecture")])
def test_networks_are_compared_by_weights_and_by_layers(measured: Path, run: str, baseline: str, change: str) -> None:
    assert rf.gate(measured / run, measured / baseline).model_change == change


def test_other_weights_of_one_architecture_are_told_from_another_one(measured: Path) -> None:
    now = lock_run(read_saved_run(measured / "300"))
    then = replace(now, model=now.model | {"sha256": "0" * 64})
    assert rf.gate(now, then).model_change == "weights"
    old = {key: value for key, value in then.model.items() if key != "architecture_sha256"}
    assert rf.gate(now, replace(then, model=old)).model_change == "unknown"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"on": "distances"}, "on"),
        ({"max_decrease": -1}, "max decrease"),
        ({"max_decrease": "1,2/255"}, "max decrease"),
        ({"alpha": 1}, "alpha"),
    ],
)
def test_settings_are_checked(measured: Path, options: dict[str, Any], name: str) -> None:
    with pytest.raises(rf.SettingError, match=f"^{name} must"):
        rf.gate(measured / "300", measured / "900", **options)
