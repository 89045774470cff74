"""Test that a plan is recorded and applied."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.engine import plan
from robustbench_fgsm.engine.plan import Plan, PlannedClassifier, PlanTrial, apply_plan
from robustbench_fgsm.engine.rounding_guard import RoundingGuard
from robustbench_fgsm.models.classifier import move_to_classifier

GUARD = RoundingGuard(1e-5, 2e-5, 101, 1e-6, 0.3)
TRIAL = PlanTrial(32, (32, 5), 1e-5, 1e-6, None, GUARD, replace(GUARD, absolute=1e-6))


def test_a_plan_survives_its_record() -> None:
    here = torch.get_num_threads()
    changed = plan.PlanChanges(32, 1, 100, 2)
    full = Plan("max", "channels_last", True, True, True, 64, here, "so", changed, True, replace(TRIAL, gradient_difference=0.1))
    for one in (full, Plan("safe", "channels_last", threads=here, trial=TRIAL), Plan("safe", threads=here), Plan(threads=here)):
        assert Plan.from_dict(one.to_dict()) == one
    assert Plan.from_dict(None, 99) == Plan(batch_size=99, threads=here)


@pytest.mark.parametrize("key", ["absolute", "images", "audit_share"])
def test_a_damaged_trial_is_an_error(key: str) -> None:
    document = Plan("safe", "channels_last", trial=TRIAL).to_dict()
    document["trial"]["guard"][key] = "a"
    with pytest.raises(ValueError, match="'a'"):
        Plan.from_dict(document)


def test_only_inexact_plans_compute_gradients(network: rf.TorchClassifier) -> None:
    safe, largest = (apply_plan(network, Plan(level, "channels_last", trial=TRIAL)) for level in ("safe", "max"))
    assert safe.gradient_classifier is network
    assert largest.gradient_classifier is largest.classifier
    assert (safe.guard, largest.guard) == (TRIAL.guard, None)


def test_images_at_risk_get_the_plain_prediction(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    x = next(images.batches(0, 8, 8)).images
    other = rf.load_classifier("smallcnn", weights="robust", device="cpu")
    for bound, expected in ((0.0, other), (1e9, network)):
        guard = RoundingGuard(bound, 0.0, 101, 0.0, 0.0)
        planned = PlannedClassifier(Plan("safe", "channels_last", trial=replace(TRIAL, guard=guard)), other, network)
        outputs, at_risk = planned.predict(x)
        assert torch.equal(outputs, expected.predict(x))
        assert at_risk.tolist() == [bound > 0] * 8


@pytest.mark.parametrize("doubtful", [False, True])
def test_images_at_risk_are_predicted_together(network: rf.TorchClassifier, images: rf.ArrayDataset, doubtful: bool) -> None:
    """Alone if their plain margins are clear, else with their whole batch."""
    x = next(images.batches(0, 64, 64)).images
    other = rf.load_classifier("smallcnn", weights="robust", device="cpu")
    assert isinstance(other, rf.TorchClassifier)
    guard = replace(GUARD, absolute=2.0, relative=0.0)
    expected_at_risk = guard.at_risk(other.predict(x))
    assert 0 < int(expected_at_risk.sum()) < 64
    trial = replace(TRIAL, guard=guard, subset_guard=replace(GUARD, absolute=1e9 if doubtful else 0.0, relative=0.0))
    sizes: list[int] = []
    plain = network.variant()
    plain.network.register_forward_hook(lambda module, inputs, outputs: sizes.append(len(outputs)))
    outputs, at_risk = PlannedClassifier(Plan("safe", bf16=True, trial=trial), other, plain).predict(x)
    classes = outputs.argmax(1)
    assert torch.equal(at_risk, expected_at_risk)
    assert sizes == [int(at_risk.sum()), 64][: 1 + doubtful]
    decided = torch.ones_like(at_risk) if doubtful else at_risk
    assert torch.equal(classes, torch.where(decided, network.predict(x).argmax(1), other.predict(x).argmax(1)))


def test_tf32_is_only_for_planned_classifiers(network: rf.TorchClassifier) -> None:
    made = apply_plan(network, Plan("max", tf32=True))
    assert isinstance(made.classifier, rf.TorchClassifier)
    assert made.classifier.tf32
    assert made.classifier.variant(memory_format=torch.channels_last).tf32
    assert made.plain_classifier is network
    assert not network.tf32


def test_bfloat16_is_only_for_predictions(network: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    batch = next(images.batches(0, 16, 16))
    made = apply_plan(network, Plan("safe", bf16=True)).classifier
    exact, rounded = network.predict(batch.images), made.predict(batch.images)
    assert rounded.dtype == torch.float32
    assert 1e-4 < float((rounded - exact).abs().max() / exact.abs().max()) < 0.05
    loss = get_loss("ce")
    for one, other in zip(*(way.loss_gradient(batch.images, batch.labels, loss) for way in (network, made)), strict=True):
        assert torch.equal(one, other)


def test_a_compiled_plan_compiles_a_copy(network: rf.TorchClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def stand_in(net: nn.Module) -> nn.Module:
        compiled.append(net)
        return net

    monkeypatch.setattr(plan, "compile_network", stand_in)
    apply_plan(network, Plan("max", compile=True))
    assert len(compiled) == 1
    assert compiled[0] is not network.network


def test_images_get_the_classifiers_layout(network: rf.TorchClassifier) -> None:
    x = torch.rand(2, 3, 4, 4)
    assert move_to_classifier(x, network) is x
    there = move_to_classifier(x, network.variant(memory_format=torch.channels_last))
    assert there.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(there, x)


@pytest.mark.gpu
def test_a_plan_runs_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    found, images = rf.load_classifier("smallcnn", device="cuda"), rf.load_data("fashion-mnist")
    none, *others = (rf.sweep(found, images, batch_size=256, optimize=level)[0] for level in ("none", "safe", "max"))
    assert [one.plan.precision for one in (none, others[1])] == ["float32", "tf32"]
    assert others[0].clean_accuracy == none.clean_accuracy
    assert [one.robust_accuracy for one in others[0].tallies] == [one.robust_accuracy for one in none.tallies]
    assert abs(others[1].tallies[0].robust_accuracy.count - none.tallies[0].robust_accuracy.count) <= 100


def test_settings_determine_the_numbers() -> None:
    one = Plan("safe", threads=1)
    assert one.settings() == replace(one, threads=2, reason="another").settings()
    assert one.settings() != replace(one, memory_format="channels_last").settings()
