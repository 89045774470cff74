"""Comparisons that must agree, comparisons that must not, and bad settings."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.attack.fgsm import fgsm
from robustbench_fgsm.comparison import compare as module
from robustbench_fgsm.models.classifier import Classifier


class FakeReference:
    """A reference that changes our adversarial images."""

    name, version, different_execution, norm_floor, own_success = "fake", "1", False, 0.0, None

    def __init__(self, classifier: rf.TorchClassifier, change: object = None) -> None:
        self.classifier = classifier
        self.change = change

    def predict(self, x: Tensor) -> Tensor:
        return self.classifier.predict(x)

    def fgsm(self, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = fgsm(self.classifier, x, y, epsilon)
        return self.change(x_adv) if callable(self.change) else x_adv


def compare_with(
    monkeypatch: pytest.MonkeyPatch, fake: FakeReference, classifier: rf.TorchClassifier, data: rf.Dataset
) -> rf.Comparison:
    monkeypatch.setattr(module, "load_reference", lambda *_: fake)
    return rf.compare(classifier, data, 8 / 255)


@pytest.mark.reference
@pytest.mark.parametrize("targeted", ["none", "next", "shift:2", "random", "least-likely", "class:Bag"])
def test_art_agrees(classifier: rf.TorchClassifier, data: rf.Dataset, targeted: str) -> None:
    found = rf.compare(classifier, data, "8/255", targeted=targeted, batch_size=70)
    assert found.verdict == "agree"
    assert found.exit_code == 0
    assert found.references[0].agreement.max_abs_difference == 0
    assert found.references[0].agreement.predictions_agree == 300
    np.testing.assert_array_equal(found.ours.tally.adversarial, found.references[0].timed_tally.tally.adversarial)


@pytest.mark.reference
def test_several_pieces(classifier: rf.TorchClassifier) -> None:
    steps: list[tuple[int, int]] = []
    found = rf.compare(classifier, rf.load_data("fashion-mnist", limit=2100), progress=lambda *step: steps.append(step))
    assert steps == [(1024, 2100), (2048, 2100), (2100, 2100)]
    assert found.ours.tally.n == 2100
    assert found.references[0].agreement.pixels == 2100 * 784


def test_counts_match_sklearn(monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    found = compare_with(monkeypatch, FakeReference(classifier), classifier, data)
    batch = next(data.batches(0, 300, 300))
    after = classifier.predict(fgsm(classifier, batch.images, batch.labels, 8 / 255)).argmax(1)
    np.testing.assert_array_equal(found.ours.tally.adversarial, confusion_matrix(batch.labels, after, labels=range(10)))
    before = classifier.predict(batch.images).argmax(1)
    np.testing.assert_array_equal(found.ours.tally.clean, confusion_matrix(batch.labels, before, labels=range(10)))


def test_finds_one_wrong_pixel(monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    def wrong(x_adv: Tensor) -> Tensor:
        x_adv[7, 0, 14, 14] = 1 - x_adv[7, 0, 14, 14]
        return x_adv

    found = compare_with(monkeypatch, FakeReference(classifier, wrong), classifier, data)
    assert found.verdict == "disagree"
    assert found.exit_code == 1
    agreement = found.references[0].agreement
    assert (agreement.pixels_differing, agreement.images_differing, agreement.pixels_explained) == (1, 1, 0)
    assert "1 of 235,200 pixels differ" in found.references[0].reasons[0]


def test_nan_differs(monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    def broken(x_adv: Tensor) -> Tensor:
        x_adv[0, 0, 0, 0] = math.nan
        return x_adv

    found = compare_with(monkeypatch, FakeReference(classifier, broken), classifier, data)
    assert found.verdict == "disagree"
    assert found.references[0].agreement.max_abs_difference == math.inf
    (reference,) = json.loads(json.dumps(found.to_dict(), allow_nan=False))["references"]
    assert (reference["max_abs_difference"], reference["max_unexplained_difference"]) == (None, None)
    assert reference["pixels_equal"] == 300 * 784 - 1


class NotFinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([total, (total - total.detach()).sqrt()], 1)


@pytest.mark.filterwarnings("ignore:.*gradient that is not finite")  # said by the fake, which is our `fgsm`
def test_nonfinite_gradient_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = rf.wrap(NotFinite(), 2)
    data = rf.ArrayDataset("two", torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0]), ("a", "b"))
    found = compare_with(monkeypatch, FakeReference(classifier), classifier, data)
    document = found.to_dict()
    assert (found.exit_code, document["status"]) == (1, "invalid")
    assert "3 of 3 images have a gradient that is not finite" in document["invalid_reasons"][0]
    assert document["gradient"]["nonfinite_share"]["count"] == 3


def test_finds_other_predictions(monkeypatch: pytest.MonkeyPatch, classifier: rf.TorchClassifier, data: rf.Dataset) -> None:
    fake = FakeReference(classifier)
    monkeypatch.setattr(fake, "predict", lambda x: classifier.predict(x).flip(1))
    found = compare_with(monkeypatch, fake, classifier, data)
    assert found.references[0].agreement.pixels_differing == 0
    assert "equal and yet predicted differently" in found.references[0].reasons[0]


def test_rejects_bad_settings(classifier: Classifier, data: rf.Dataset) -> None:
    with pytest.raises(rf.SettingError, match="takes one epsilon"):
        rf.compare(classifier, data, "1,2/255")
    with pytest.raises(rf.SettingError, match="did you mean art"):
        rf.compare(classifier, data, references=["arts"])
    with pytest.raises(rf.SettingError, match="batch size must be auto or a positive integer"):
        rf.compare(classifier, data, batch_size=0)
    other = rf.ArrayDataset("other", torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 0]), ("a", "b"))
    with pytest.raises(rf.DataError, match="must have the model's 10 classes, got 2"):
        rf.compare(classifier, other)


def right(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    x = x.requires_grad_()
    nn.functional.cross_entropy(model(x), y, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return (x + epsilon * x.grad.sign() * (-1 if targeted else 1)).clamp(0, 1)


def test_takes_every_form_of_candidate(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from robustbench_fgsm.attack.fgsm import fgsm\n"
        "def plain(model, x, y, epsilon):\n    return fgsm(model, x, y, epsilon)\n"
        "def tutorial(image, epsilon, data_grad):\n    return (image + epsilon * data_grad.sign()).clamp(0, 1)\n"
    )
    data = images.head(32)
    for candidate, style in (
        (f"{file}:plain", "plain"),
        (f"{file}:tutorial", "tutorial"),
        (rf.load_candidate(f"{file}:tutorial", "tutorial"), "plain"),
        (lambda image, epsilon, data_grad: (image + epsilon * data_grad.sign()).clamp(0, 1), "tutorial"),
    ):
        assert rf.compare(classifier, data, references=[], candidate=candidate, style=style).verdict == "agree"
    with pytest.raises(rf.SettingError, match="did you mean --style tutorial"):
        rf.compare(classifier, data, references=[], candidate=f"{file}:tutorial")


def test_rejects_an_empty_comparison(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="at least one if there is no candidate"):
        rf.compare(classifier, images, references=[])


class ShortSteps(nn.Module):
    """A network whose gradients are below the floor of a library."""

    def forward(self, x: Tensor) -> Tensor:
        return 1e-24 * torch.stack([x.flatten(1).sum(1), -x.flatten(1)[:, 0]], 1)


def test_steps_below_a_floor_disagree_until_they_are_ignored() -> None:
    """Images that are set aside may explain a difference, never hide it."""
    data = rf.ArrayDataset("some", torch.rand(6, 1, 4, 4), torch.zeros(6, dtype=torch.int64), ("a", "b"))
    classifier = rf.wrap(ShortSteps(), 2)
    found = rf.compare(classifier, data, 0.5, norm=2)
    assert (found.verdict, found.exit_code) == ("disagree", 1)
    assert "pass --ignore floor" in found.references[0].reasons[0]
    accepted = rf.compare(classifier, data, 0.5, norm=2, ignore=["floor"])
    assert (accepted.verdict, accepted.exit_code, accepted.to_dict()["ignored"]) == ("agree", 0, ["floor"])
    assert any("--ignore floor accepts them" in warning for warning in accepted.warnings)
    with pytest.raises(rf.SettingError, match="ignore must be floor, got 'rounding'"):
        rf.compare(classifier, data, ignore=["rounding"])
