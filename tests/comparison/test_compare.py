"""Comparisons that must agree, comparisons that must not, and what the document says of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.comparison import compare as module
from robustbench_fgsm.comparison.agreement import Agreement, compare_batch
from robustbench_fgsm.comparison.rounding import RoundingAnalysis
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec


@pytest.fixture(scope="module")
def data() -> rf.Dataset:
    return rf.load_data("fashion-mnist", limit=300)


@pytest.fixture(scope="module")
def classifier() -> rf.TorchClassifier:
    found = rf.load_classifier("mlp300")
    assert isinstance(found, rf.TorchClassifier)
    return found


class Rival:
    """A reference that does what it is told to."""

    name, version, different_execution, norm_floor, own_success = "rival", "1", False, 0.0, None

    def __init__(self, classifier: rf.TorchClassifier, change: object = None) -> None:
        self.classifier = classifier
        self.change = change

    def predict(self, x: Tensor) -> Tensor:
        return self.classifier.predict(x)

    def fgsm(self, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = fgsm(self.classifier, x, y, epsilon)
        return self.change(x_adv) if callable(self.change) else x_adv


def compare_with(monkeypatch: pytest.MonkeyPatch, rival: Rival, classifier: rf.TorchClassifier, data: rf.Dataset) -> rf.Comparison:
    monkeypatch.setattr(module, "load_reference", lambda *_: rival)
    return rf.compare(classifier, data, 8 / 255)


@pytest.mark.reference
@pytest.mark.parametrize("targeted", ["none", "next", "shift:2", "random", "least-likely", "class:Bag"])
def test_art_agrees_under_every_targeting_rule(classifier: rf.TorchClassifier, data: rf.Dataset, targeted: str) -> None:
    found = rf.compare(classifier, data, "8/255", targeted=targeted, batch_size=70)
    assert found.verdict == "agree"
    assert found.exit_code == 0
    assert found.references[0].agreement.max_abs_difference == 0
    assert found.references[0].agreement.predictions_agree == 300
    np.testing.assert_array_equal(found.ours.tally.adversarial, found.references[0].timed_tally.tally.adversarial)


@pytest.mark.reference
def test_more_than_one_piece(classifier: rf.TorchClassifier) -> None:
    steps: list[tuple[int, int]] = []
    found = rf.compare(classifier, rf.load_data("fashion-mnist", limit=2100), progress=lambda *step: steps.append(step))
    assert steps == [(1024, 2100), (2048, 2100), (2100, 2100)]
    assert found.ours.tally.n == 2100
    assert found.references[0].agreement.pixels == 2100 * 784


def test_counts_are_those_of_sklearn(monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    found = compare_with(monkeypatch, Rival(classifier), classifier, data)
    batch = next(data.batches(0, 300, 300))
    after = classifier.predict(fgsm(classifier, batch.images, batch.labels, 8 / 255)).argmax(1)
    np.testing.assert_array_equal(found.ours.tally.adversarial, confusion_matrix(batch.labels, after, labels=range(10)))
    before = classifier.predict(batch.images).argmax(1)
    np.testing.assert_array_equal(found.ours.tally.clean, confusion_matrix(batch.labels, before, labels=range(10)))


def test_one_pixel_moved_the_wrong_way_is_found(
    monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset
) -> None:
    def wrong(x_adv: Tensor) -> Tensor:
        x_adv[7, 0, 14, 14] = 1 - x_adv[7, 0, 14, 14]
        return x_adv

    found = compare_with(monkeypatch, Rival(classifier, wrong), classifier, data)
    assert found.verdict == "disagree"
    assert found.exit_code == 1
    agreement = found.references[0].agreement
    assert (agreement.pixels_differing, agreement.images_differing, agreement.pixels_explained) == (1, 1, 0)
    assert "1 of 235,200 pixels differ" in found.references[0].reasons[0]


def test_nan_differs(monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    def broken(x_adv: Tensor) -> Tensor:
        x_adv[0, 0, 0, 0] = math.nan
        return x_adv

    found = compare_with(monkeypatch, Rival(classifier, broken), classifier, data)
    assert found.verdict == "disagree"
    assert found.references[0].agreement.max_abs_difference == math.inf
    (reference,) = json.loads(json.dumps(found.to_dict(), allow_nan=False))["references"]
    assert (reference["max_abs_difference"], reference["max_unexplained_difference"]) == (None, None)
    assert reference["pixels_equal"] == 300 * 784 - 1


def test_equal_images_predicted_differently_disagree(
    monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset
) -> None:
    rival = Rival(classifier)
    monkeypatch.setattr(rival, "predict", lambda x: classifier.predict(x).flip(1))
    found = compare_with(monkeypatch, rival, classifier, data)
    assert found.references[0].agreement.pixels_differing == 0
    assert "equal and yet predicted differently" in found.references[0].reasons[0]


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
    explanation = RoundingAnalysis(classifier=classifier, spec=spec, different_execution=different_execution)
    return explanation, attack_batch(classifier, batch, spec, ("a", "b"))


def agreement_at(explanation: RoundingAnalysis, attacked: AttackedBatch, pixel: int) -> Agreement:
    ours = attacked.gradient_step.perturb(explanation.epsilon)
    theirs = ours.clone()
    theirs[0, 0, 0, pixel] += 0.2
    return compare_batch(explanation, attacked, ours, theirs, torch.tensor([0]), torch.tensor([0]))


def test_a_sign_that_rounding_decides_is_explained_and_another_is_not() -> None:
    explanation, attacked = examined(Cancelling())
    assert agreement_at(explanation, attacked, 0).pixels_explained == 1
    assert not agreement_at(explanation, attacked, 0).pixels_tied
    assert agreement_at(explanation, attacked, 1).pixels_explained == 0
    assert agreement_at(explanation, attacked, 1).disagreement_reasons(math.inf)


class Tied(nn.Module):
    """Max-pooling over two equal pixels: which of them has the gradient is a matter of execution."""

    def forward(self, x: Tensor) -> Tensor:
        top = nn.functional.max_pool2d(x, (1, 2)).flatten(1)
        return torch.cat([top, -top], 1)


@pytest.mark.parametrize("different_execution", [True, False])
def test_ties_excuse_only_where_the_two_sides_ran_differently(different_execution: bool) -> None:
    explanation, attacked = examined(Tied(), different_execution=different_execution)
    direction = attacked.gradient_step.direction[0, 0, 0]
    found = [agreement_at(explanation, attacked, pixel) for pixel in (0, 1)]
    assert sorted(direction.abs().tolist()) == [0, 1]
    if different_execution:
        assert sum(agreement.pixels_tied for agreement in found) >= 1
    else:
        assert sum(agreement.pixels_tied for agreement in found) == 0


def test_too_much_excused_is_a_disagreement() -> None:
    agreement = Agreement(images=1, images_differing=1, pixels=100, pixels_differing=2, pixels_explained=2, predictions_agree=1)
    assert "more than 1%" in agreement.disagreement_reasons(math.inf)[0]


def test_agreements_add() -> None:
    one = Agreement(images=1, pixels=10, pixels_differing=1, max_abs_difference=0.5)
    assert one + Agreement(images=2, pixels=20, max_abs_difference=0.2) == Agreement(
        images=3, pixels=30, pixels_differing=1, max_abs_difference=0.5
    )


def test_underflow_of_the_reference_is_counted_apart() -> None:
    class Faint(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return 1e-24 * torch.stack([x[:, 0] + 2 * x[:, 1], -x[:, 0]], 1)

    explanation, attacked = examined(Faint(), norm=2)
    ours = attacked.gradient_step.perturb(0.1)
    still = compare_batch(explanation, attacked, ours, attacked.gradient_step.x, torch.tensor([0]), torch.tensor([0]))
    assert (still.images_differing, still.images_subnormal) == (1, 1)
    assert not still.disagreement_reasons(2)
    wrong = compare_batch(explanation, attacked, ours + 0.1, ours, torch.tensor([0]), torch.tensor([0]))
    assert (wrong.images_differing, wrong.images_subnormal) == (1, 0)
    assert wrong.disagreement_reasons(2)


class NotFinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([total, (total - total.detach()).sqrt()], 1)


@pytest.mark.filterwarnings("ignore:.*gradient that is not finite")  # said by the rival, which is our `fgsm`
def test_a_gradient_that_is_not_finite_invalidates_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = rf.wrap(NotFinite(), 2)
    data = rf.ArrayDataset("two", torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0]), ("a", "b"))
    found = compare_with(monkeypatch, Rival(classifier), classifier, data)
    document = found.to_dict()
    assert (found.exit_code, document["status"]) == (1, "invalid")
    assert "3 of 3 images have a gradient that is not finite" in document["invalid_reasons"][0]
    assert document["gradient"]["nonfinite_share"]["count"] == 3


@pytest.mark.reference
def test_the_document_has_the_keys_of_the_contract(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    document = json.loads(json.dumps(rf.compare(classifier, data).to_dict(), allow_nan=False))
    envelope = "schema status exit_code invalid_reasons warnings environment seconds"
    assert set(f"{envelope} verdict model data attack n ours references candidate".split()) <= document.keys()
    side = "clean_accuracy robust_accuracy attack_success_rate clean_confusion confusion per_class seconds"
    assert set(side.split()) <= document["ours"].keys()
    reference = (
        "name version verdict max_abs_difference pixels pixels_differing pixels_explained images_differing pixels_tied "
        "pixels_equal max_ulps max_unexplained_difference discordant own_success images_subnormal "
        "predictions_agree robust_accuracy attack_success_rate confusion per_class seconds speedup reasons"
    )
    assert set(reference.split()) <= document["references"][0].keys()
    assert document["schema"] == "rfgsm.comparison/1"
    assert document["ours"]["robust_accuracy"].keys() == {"value", "count", "n", "low", "high"}
    assert {"package", "python", "torch", "device"} <= document["environment"].keys()
    assert document["model"].keys() >= {"spec", "weights", "parameters", "sha256"}


@pytest.mark.reference
def test_the_same_seed_gives_the_same_document(classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    def timeless(seed: int) -> str:
        document = rf.compare(classifier, data, targeted="random", seed=seed).to_dict()
        for side in (document, document["ours"], *document["references"]):
            del side["seconds"]
        del document["references"][0]["speedup"]
        return json.dumps(document)

    assert timeless(1) == timeless(1)
    assert timeless(1) != timeless(2)


def test_settings_that_make_no_sense_together_are_refused(classifier: Classifier, data: rf.Dataset) -> None:
    with pytest.raises(rf.SettingError, match="takes one epsilon"):
        rf.compare(classifier, data, "1,2/255")
    with pytest.raises(rf.SettingError, match="references must be of art"):
        rf.compare(classifier, data, references=["arts"])
    with pytest.raises(rf.SettingError, match="batch size must be auto or a positive integer"):
        rf.compare(classifier, data, batch_size=0)
    other = rf.ArrayDataset("other", torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 0]), ("a", "b"))
    with pytest.raises(rf.DataError, match="must have the model's 10 classes, got 2"):
        rf.compare(classifier, other)
