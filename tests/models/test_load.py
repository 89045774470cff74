"""Specs of models, their weights and devices."""

from __future__ import annotations

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.load import load_classifier, pick_device


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_every_name_loads(model: str, images: rf.ArrayDataset) -> None:
    classifier = load_classifier(model)
    assert (classifier.info.spec, classifier.info.weights) == (model, "standard")
    batch = next(images.batches(0, 4, 4))
    assert classifier.predict(batch.images.to(classifier.device)).shape == (4, 10)


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("resnet", r"did you mean resnet18\?"),
        ("mlp", "did you mean mlp"),
        ("nosuch", "choose from mlp300, mlp600, mlp900, resnet18, smallcnn"),
        ("", "choose from mlp300"),
    ],
)
def test_an_unknown_model_shows_a_remedy(model: str, remedy: str) -> None:
    with pytest.raises(ModelError, match=f"`rfgsm list models`, got '{model}': {remedy}"):
        load_classifier(model)


def test_auto_takes_bundled_weights() -> None:
    assert load_classifier("mlp300", weights="auto", data="fashion-mnist").info.weights == "standard"


def test_auto_rejects_other_data() -> None:
    with pytest.raises(ModelError, match="weights auto for mlp300 must meet data fashion-mnist, got 'cifar10': pass --weights"):
        load_classifier("mlp300", data="cifar10")


@pytest.mark.parametrize("weights", ["nosuch", "", "DEFAULT"])
def test_unknown_weights_are_refused(weights: str) -> None:
    with pytest.raises(ModelError, match="weights for mlp300 must be one of"):
        load_classifier("mlp300", weights=weights)


def test_rejects_a_missing_weights_file() -> None:
    with pytest.raises(ModelError, match=r"nosuch\.safetensors, which does not exist"):
        load_classifier("mlp300", weights="nosuch.safetensors")


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["nosuch", "", "cpu:x", "cuda:99", "meta"])
def test_rejects_an_unusable_device(device: str) -> None:
    with pytest.raises(SettingError, match=f"must be auto, cpu or one that PyTorch has here, got '{device}'") as refused:
        load_classifier("mlp300", device=device)
    assert "\n" not in str(refused.value)
