"""The weights that ship: what their cards say is so, and damage is found."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import resnet18

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.fashion_mnist import CLASS_NAMES
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.cards import WEIGHTS_FOLDER, bundled_cards, model_card
from robustbench_fgsm.models.classifier import count_parameters
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.sources.bundled import load
from robustbench_fgsm.stats.rate import Rate

AT_LEAST = {"resnet18": 9_050, "smallcnn": 9_150, "mlp300": 8_850, "mlp600": 8_850, "mlp900": 8_850}
"""Correct predictions that the standard weights must reach, of 10,000."""

KEYS = {"name", "weights", "file", "classes", "data", "recipe", "script", "torch", "parameters", "clean_accuracy", "sha256"}


def load_bundled(name: str, weights: str = "standard") -> rf.TorchClassifier:
    return load(ModelRequest(name, name, weights))


def named(card: dict[str, Any]) -> str:
    return f"{card['name']}-{card['weights']}"


every_card = pytest.mark.parametrize("card", list(bundled_cards()), ids=named)


def test_every_architecture_has_standard_weights() -> None:
    assert {card["name"] for card in bundled_cards() if card["weights"] == "standard"} == set(ARCHITECTURES) == set(AT_LEAST)


@every_card
def test_a_card_is_complete(card: dict[str, Any]) -> None:
    assert card.keys() >= KEYS
    assert {"epochs", "optimizer", "batch_size", "seed", "mean", "std", "channels"} <= card["recipe"].keys()
    assert tuple(card["classes"]) == CLASS_NAMES


@every_card
def test_card_has_the_hash_of_its_file(card: dict[str, Any]) -> None:
    assert hashlib.sha256((WEIGHTS_FOLDER / card["file"]).read_bytes()).hexdigest() == card["sha256"]


@every_card
def test_weights_have_the_measured_precision(card: dict[str, Any]) -> None:
    stored = load_file(WEIGHTS_FOLDER / card["file"]).values()
    precision = torch.float32 if card["weights"] == "robust" else torch.float16
    assert {value.dtype for value in stored if value.is_floating_point()} == {precision}


@every_card
def test_card_has_the_number_of_parameters(card: dict[str, Any]) -> None:
    assert card["parameters"] == count_parameters(ARCHITECTURES[card["name"]]())


@every_card
def test_reaches_the_accuracy_on_the_card(card: dict[str, Any]) -> None:
    classifier = load_bundled(card["name"], card["weights"])
    data = rf.load_data("fashion-mnist")
    correct = sum(int((classifier.predict(batch.images).argmax(1) == batch.labels).sum()) for batch in data.batches(0, 10_000, 500))
    assert card["clean_accuracy"] == pytest.approx(Rate(correct, 10_000).to_dict(), abs=1e-12)
    if card["weights"] == "standard":
        assert correct >= AT_LEAST[card["name"]]


def test_robust_weights_reach_their_goal() -> None:
    card = model_card("smallcnn", "robust")
    under = card["robust_accuracy"]
    assert (under["epsilon"], under["fgsm"]["n"], under["pgd20"]["n"]) == (0.1, 10_000, 10_000)
    assert card["clean_accuracy"]["value"] >= 0.85
    assert under["fgsm"]["value"] >= 0.76
    assert under["pgd20"]["value"] >= 0.71


def test_robust_weights_withstand_attacks() -> None:
    images = rf.load_data("fashion-mnist", limit=500)
    robust, standard = (
        rf.evaluate(load_bundled("smallcnn", weights), images, 0.1).tallies[0].robust_accuracy.count
        for weights in ("robust", "standard")
    )
    assert robust > 0.7 * 500 > 2 * standard


def test_describes_a_bundled_classifier() -> None:
    classifier = load_bundled("smallcnn")
    assert (classifier.num_classes, classifier.classes, classifier.bounds) == (10, CLASS_NAMES, (0.0, 1.0))
    assert (classifier.info.spec, classifier.info.weights, classifier.info.parameters) == ("smallcnn", "standard", 204_778)


def test_normalises_by_the_recipe() -> None:
    recipe = model_card("resnet18", "standard")["recipe"]
    network = load_bundled("resnet18").copy_network()
    x = torch.rand(4, 1, 28, 28)
    plain = resnet18(num_classes=10).eval()
    plain.load_state_dict(load_bundled("resnet18").network.network.state_dict(), strict=True)  # type: ignore[union-attr]
    normalised = (x.repeat(1, 3, 1, 1) - recipe["mean"]) / recipe["std"]
    torch.testing.assert_close(network(x), plain(normalised), atol=1e-5, rtol=1e-5)


def test_loading_twice_gives_the_same_network() -> None:
    assert load_bundled("mlp300").info.sha256 == load_bundled("mlp300").info.sha256


def test_no_weights_are_the_architecture_alone() -> None:
    untrained = load_bundled("mlp300", "none")
    assert untrained.info.weights == "none"
    assert untrained.info.sha256 != load_bundled("mlp300").info.sha256


def test_a_file_of_ones_own() -> None:
    file = WEIGHTS_FOLDER / "mlp300-fashion-mnist-standard.safetensors"
    own = load_bundled("mlp300", str(file))
    assert own.info.weights == str(file)
    assert own.info.sha256 == load_bundled("mlp300").info.sha256


def test_rejects_a_file_for_another_architecture() -> None:
    with pytest.raises(ModelError, match=r"another architecture: 1 of 4 keys fit; first of another shape hidden\.bias"):
        load_bundled("mlp300", str(WEIGHTS_FOLDER / "mlp600-fashion-mnist-standard.safetensors"))


def test_unknown_weights_show_a_remedy() -> None:
    with pytest.raises(ModelError, match=r"weights for mlp300 must be one of .*standard.*, got 'standart': did you mean standard"):
        load_bundled("mlp300", "standart")


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundled weights of mlp300 in another folder, which is taken for the package's own."""
    for suffix in ("json", "safetensors"):
        shutil.copy(WEIGHTS_FOLDER / f"mlp300-fashion-mnist-standard.{suffix}", tmp_path)
    monkeypatch.setattr("robustbench_fgsm.models.cards.WEIGHTS_FOLDER", tmp_path)
    return tmp_path / "mlp300-fashion-mnist-standard.safetensors"


def test_finds_a_flipped_bit(copied: Path) -> None:
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    with pytest.raises(ModelError, match=r"must have sha256 .*: install the package again"):
        load_bundled("mlp300")


def test_a_lost_file_is_found(copied: Path) -> None:
    copied.unlink()
    with pytest.raises(ModelError, match="got no file: install the package again"):
        load_bundled("mlp300")


def test_the_undamaged_copy_is_taken(copied: Path) -> None:
    assert load_bundled("mlp300").info.weights == "standard"
