"""Evaluations and sweeps: how often the network is asked, and that the counts do not depend on how it is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.engine.preflight import PREFLIGHT_IMAGES, preflight
from robustbench_fgsm.spec import AttackSpec


@pytest.fixture(scope="module")
def data() -> rf.Dataset:
    return rf.load_data("fashion-mnist", limit=300)


@pytest.fixture(scope="module")
def classifier() -> rf.TorchClassifier:
    found = rf.load_classifier("mlp300")
    assert isinstance(found, rf.TorchClassifier)
    return found


def integers(evaluation: rf.Evaluation) -> list[Any]:
    return [evaluation.first_fooled] + [
        {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(tally).items()}
        for tally in (*evaluation.tallies, *evaluation.stable)
    ]


class Calls:
    """Forward passes over a classifier's network, backward passes through it, and the images of each of them."""

    def __init__(self, network: nn.Module) -> None:
        self.forwards = self.backwards = self.images_forward = self.images_backward = 0
        network.register_forward_hook(self._count)

    def _count(self, module: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> None:
        self.forwards += 1
        self.images_forward += len(outputs)
        if outputs.requires_grad:
            outputs.register_hook(self._count_backward)  # type: ignore[no-untyped-call]

    def _count_backward(self, grad: Tensor) -> None:
        self.backwards += 1
        self.images_backward += len(grad)


def test_eight_budgets_cost_one_backward_pass() -> None:
    classifier = rf.load_classifier("smallcnn", weights="none")  # untrained: no image is saturated
    data = rf.load_data("fashion-mnist", limit=60)
    assert isinstance(classifier, rf.TorchClassifier)
    epsilons = [k / 255 for k in range(1, 9)]
    first = Calls(classifier.network)
    preflight(classifier, data, AttackSpec())
    assert (first.forwards, first.backwards) == (3, 1)
    looked = (first.forwards, first.backwards)
    calls = Calls(classifier.network)
    rf.sweep(classifier, data, epsilons, batch_size=20, optimize="none")
    assert (calls.forwards - looked[0], calls.backwards - looked[1]) == (3 * 9, 3)


@pytest.mark.parametrize("epsilons", [["8/255"], [f"{level}/255" for level in range(1, 9)]], ids=len)
@pytest.mark.parametrize("targeted", [["none"], ["none", "next", "random"]], ids=len)
def test_fixed_costs_are_a_batch_of_preflight(epsilons: list[str], targeted: list[str]) -> None:
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 10)  # untrained: no image is saturated
    n, rules, data = 256, len(targeted), rf.load_data("fashion-mnist", limit=256)
    calls = Calls(classifier.network)
    rf.sweep(classifier, data, epsilons=",".join(epsilons), targeted=targeted)
    predicted, differentiated, for_batch_size = PREFLIGHT_IMAGES, PREFLIGHT_IMAGES // 4, 1
    assert calls.images_forward == n * rules * (1 + len(epsilons)) + predicted + differentiated + for_batch_size
    assert calls.images_backward == n * rules + differentiated


@pytest.mark.parametrize("targeted", ["none", "shift:2", "random", "least-likely"])
@pytest.mark.parametrize("restarts", [0, 1])
def test_batch_size_changes_no_count(classifier: rf.TorchClassifier, data: rf.Dataset, targeted: str, restarts: int) -> None:
    def run(size: int) -> list[Any]:
        (found,) = rf.sweep(classifier, data, "2,8/255", targeted=targeted, restarts=restarts, batch_size=size)
        return integers(found)

    assert run(300) == run(64) == run(7)


class Shuffled:
    """The same data in another order, with the same ids."""

    def __init__(self, data: rf.Dataset) -> None:
        self._data, self.name, self.classes, self.fingerprint = data, data.name, data.classes, data.fingerprint
        self._order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self._data)

    def batches(self, start: int, stop: int, size: int) -> Iterator[rf.Batch]:
        whole = next(self._data.batches(0, len(self), len(self)))
        for low in range(start, min(stop, len(self)), size):
            yield whole.at(self._order[low : min(low + size, stop)])

    def __iter__(self) -> Iterator[rf.Batch]:
        return self.batches(0, len(self), 128)


@pytest.mark.parametrize("targeted", ["none", "random"])
def test_order_changes_no_count(classifier: rf.TorchClassifier, data: rf.Dataset, targeted: str) -> None:
    (one,) = rf.sweep(classifier, data, targeted=targeted, restarts=1)
    (other,) = rf.sweep(classifier, Shuffled(data), targeted=targeted, restarts=1)
    assert integers(one) == integers(other)


def test_no_budget_leaves_every_prediction_alone(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    tally = rf.evaluate(classifier, data, 0).tallies[0]
    np.testing.assert_array_equal(tally.clean, tally.adversarial)
    assert tally.flip_rate.count == 0


def test_a_sweep_equals_its_evaluations(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    untargeted, targeted = rf.sweep(classifier, data, [2 / 255, 8 / 255], targeted=["none", "next"])
    assert integers(rf.evaluate(classifier, data, 8 / 255))[1] == integers(untargeted)[2]
    assert integers(rf.evaluate(classifier, data, "2/255", targeted="next"))[1] == integers(targeted)[1]


def test_restarts_succeed_at_least_as_often(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    clean = rf.evaluate(classifier, data, 4 / 255).tallies[0]
    best = rf.evaluate(classifier, data, 4 / 255, restarts=2).tallies[0]
    assert best.attack_success_rate.count >= clean.attack_success_rate.count
    assert rf.evaluate(classifier, data, 4 / 255, restarts=2).to_dict()["attack"]["restarts"] == 2


class Sharpened(nn.Module):
    """A network trained too long: the same predictions, thirty times as sure of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 30 * self.network(x)
        return logits


def test_saturated_images_get_stable_gradients(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    sharp = rf.wrap(Sharpened(classifier.copy_network()), 10)
    found = rf.evaluate(sharp, data, 16 / 255)
    document = found.to_dict()
    assert found.shows_stable
    assert document["gradient"]["saturated_share"]["value"] > 0.5
    stable = document["epsilons"][0]["stable"]
    assert stable["robust_accuracy"]["value"] < document["epsilons"][0]["robust_accuracy"]["value"]
    everywhere = rf.evaluate(sharp, data, 16 / 255, stable=True).tallies[0]
    assert abs(everywhere.robust_accuracy.count - stable["robust_accuracy"]["count"]) <= 1
    assert any("saturation" in warning for warning in found.warnings)


def test_first_fooled_adds_up(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    (found,) = rf.sweep(classifier, data, "8,1,4/255")  # in any order
    ascending = sorted(zip(found.attack.epsilons, found.tallies, strict=True))
    assert sum(found.first_fooled) == found.clean_accuracy.count
    assert found.first_fooled[0] == ascending[0][1].attack_success_rate.count
    assert found.to_dict()["minimal_epsilon"]["first_fooled"][0]["epsilon"] == 1 / 255


def test_area_and_first_epsilon(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    (found,) = rf.sweep(classifier, data, [0.1, 0.3])
    clean, low, high = (rate.value for rate in (found.clean_accuracy, *(tally.robust_accuracy for tally in found.tallies)))
    assert clean is not None
    assert low is not None
    assert high is not None
    assert found.area_under_curve == pytest.approx((0.1 * (clean + low) / 2 + 0.2 * (low + high) / 2) / 0.3)
    assert found.first_epsilon(0.0) == 0.1
    assert found.first_epsilon(1.01) is None


class NotFinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([total, (total - total.detach()).sqrt()], 1)


def test_nonfinite_gradient_invalidates_the_run() -> None:
    data = rf.ArrayDataset("three", torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0]), ("a", "b"))
    found = rf.evaluate(rf.wrap(NotFinite(), 2), data)
    assert (found.exit_code, found.to_dict()["status"]) == (1, "invalid")
    assert found.tallies[0].nonfinite_gradient == 3


def test_zero_gradients_are_masking() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.flatten(1).sum(1) * 0 + 2, x.flatten(1).sum(1) * 0], 1)

    data = rf.ArrayDataset("three", torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0]), ("a", "b"))
    found = rf.evaluate(rf.wrap(Flat(), 2), data)
    assert any("masking" in warning for warning in found.warnings)
    assert found.to_dict()["gradient"]["zero_share"]["value"] == 1.0


@pytest.mark.parametrize("epsilons", [[], [0.1, 0.1]])
def test_rejects_empty_or_repeated_budgets(classifier: rf.TorchClassifier, data: rf.Dataset, epsilons: list[float]) -> None:
    with pytest.raises(rf.SettingError, match="at least one and all different"):
        rf.sweep(classifier, data, epsilons)


def test_empty_class_has_no_rate(classifier: rf.TorchClassifier) -> None:
    images = rf.load_data("fashion-mnist").batches(0, 40, 40)
    batch = next(images)
    rows = batch.labels == 9
    data = rf.ArrayDataset("boots", batch.images[rows], batch.labels[rows], classifier.classes or ())
    per_class = rf.evaluate(classifier, data).to_dict()["epsilons"][0]["per_class"]
    assert per_class[0]["robust_accuracy"]["value"] is None
    assert math.isfinite(per_class[9]["robust_accuracy"]["value"])


@pytest.mark.reference
def test_seed_determines_the_document(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    def document(seed: int) -> list[dict[str, Any]]:
        asked: dict[str, Any] = {"targeted": ["none", "random"], "restarts": 1, "pgd_check": 16, "check_masking": True}
        found = rf.sweep(classifier, images.head(48), [0.02, 0.1], batch_size=16, optimize="none", seed=seed, **asked)
        return [evaluation.to_dict() | {"seconds": None} for evaluation in found]

    first = document(3)
    assert document(3) == first != document(4)
