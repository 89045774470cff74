"""The verdict of a gate: how often it is wrong, and what it says of a few pairs."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.gate import assess_drops
from robustbench_fgsm.runs.pair_outcomes import PairedRunCounts
from robustbench_fgsm.runs.read import read_saved_run
from robustbench_fgsm.runs.robustness_lock import lock_run
from robustbench_fgsm.spec import AttackSpec, TargetRule
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


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one network and their locks, `same`, and others that differ in one thing each."""
    place, made = tmp_path_factory.mktemp("strangers"), torch.Generator().manual_seed(0)
    levels, names = torch.randint(0, 256, (40, 1, 8, 8), generator=made, dtype=torch.uint8), ("a", "b")
    for kind, pixels in (("photos", levels), ("negatives", 255 - levels)):
        for number, image in enumerate(pixels):
            folder = place / kind / names[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(folder / f"{number}.png")
    photos: Any
    negatives: Any
    photos, negatives = (rf.load_data(str(place / kind), image_size=8) for kind in ("photos", "negatives"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(64, 2)
    network = rf.wrap(nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), layer), 2)
    shifted = rf.wrap(network.network, 2, mean=(0.5,), std=(1.0,))
    spec = AttackSpec(max_epsilon=0.5)
    kept: dict[str, tuple[Any, Any, AttackSpec]] = {
        "same": (network, photos, spec),
        "arrays": (network, rf.ArrayDataset("arrays", levels, torch.arange(40) % 2, names), spec),
        "other folder": (network, negatives, spec),
        "resized": (network, rf.load_data(str(place / "photos"), image_size=16), spec),
        "part": (network, rf.load_data(str(place / "photos"), image_size=8, limit=30), spec),
        "classes": (network, photos.relabelled((1, 0), ("b", "a")), spec),
        "labels": (network, photos.relabelled((1, 0), names), spec),
        "epsilon": (network, photos, replace(spec, epsilons=(0.1,))),
        "norm": (network, photos, replace(spec, norm=2.0)),
        "targeted": (network, photos, replace(spec, target=TargetRule("shift", 1))),
        "loss": (network, photos, replace(spec, loss="margin")),
        "starts": (network, photos, replace(spec, restarts=1)),
        "normalised": (shifted, photos, spec),
    }
    for name, (classifier, images, attack) in kept.items():
        evaluate_in_directory(EvaluationRun("evaluate", classifier, images, (attack,), Plan(batch_size=16)), place / name)
        rf.lock(place / name, place / f"{name}.lock")
    return place


DIFFERENCES = {
    "arrays": "images|resizing and cropping, got none",
    "other folder": "images",
    "resized": "resizing and cropping, got .*16.* and .*8",
    "part": "images|number of images, got 30 and 40",
    "classes": "classes",
    "labels": "images|labels",
    "epsilon": "epsilons, got .*0.1",
    "norm": "norm, got 2 and inf",
    "targeted": "targeting rules, got next and none",
    "loss": "loss, got margin and ce",
    "starts": "restarts, got 1 and 0",
}


@pytest.mark.parametrize(
    "suffixes", list(product(("", ".lock"), repeat=2)), ids=lambda pair: "-".join(one or "run" for one in pair)
)
@pytest.mark.parametrize("other", DIFFERENCES)
def test_strangers_are_refused_with_what_differs(strangers: Path, other: str, suffixes: tuple[str, str]) -> None:
    run, baseline = strangers / f"{other}{suffixes[0]}", strangers / f"same{suffixes[1]}"
    for judge in (rf.gate, rf.plan_gate):
        with pytest.raises(rf.RunError, match=rf"run and baseline must (have|be on) the same ({DIFFERENCES[other]})"):
            judge(run, baseline)


@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_another_normalisation_is_said(strangers: Path, suffix: str) -> None:
    found = rf.gate(strangers / f"normalised{suffix}", strangers / f"same{suffix}")
    assert [text for text in found.warnings if "normalise" in text] == [
        "run and baseline normalise by another mean, 0.5 and none",
        "run and baseline normalise by another std, 1 and none",
    ]


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


BLIND = {1e-4: "raise --max-epsilon, now 0.0001, in both runs", 0.5: "take images that the networks have right"}


@pytest.mark.parametrize("suffix", ["", ".lock"])
@pytest.mark.parametrize("largest", BLIND)
def test_distances_that_cannot_differ_are_said(tmp_path: Path, largest: float, suffix: str) -> None:
    """Nothing is fooled up to 1e-4, or all images are wrong before the attack."""
    classifier, images = rf.load_classifier("smallcnn", weights="robust"), rf.load_data("fashion-mnist", limit=40)
    (whole,) = images.batches(0, 40, 40)
    predicted = classifier.predict(whole.images).argmax(1)
    labels = predicted if largest == 1e-4 else (predicted + 1) % 10
    data, spec = rf.ArrayDataset("some", whole.images, labels, images.classes), AttackSpec(max_epsilon=largest)
    for name in ("run", "baseline"):
        evaluate_in_directory(EvaluationRun("evaluate", classifier, data, (spec,), Plan()), tmp_path / name)
        rf.lock(tmp_path / name, tmp_path / f"{name}.lock")
    found = rf.gate(tmp_path / "run", tmp_path / f"baseline{suffix}", on="distance")
    (text,) = (text for text in found.warnings if text.startswith("distances of "))
    assert "of 40 images can differ, too few to show a decrease: in both runs " in text
    assert text.endswith(BLIND[largest])


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
