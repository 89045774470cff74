"""Evaluating a network on the images that it was trained on is a warning of every result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import robustbench_fgsm as rf

WARNING = "mlp300 was trained on these images: its accuracy on others is lower"


def drawn(seed: int) -> rf.ArrayDataset:
    generator = torch.Generator().manual_seed(seed)
    return rf.ArrayDataset("drawn", torch.rand(8, 1, 28, 28, generator=generator), torch.arange(8) % 2, ("a", "b"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[rf.Dataset], str]:
    """Train on images and return the file of weights."""

    def train(images: rf.Dataset) -> str:
        out = tmp_path_factory.mktemp("trained")
        classifier = rf.load_classifier("mlp300", weights="none", num_classes=len(images.classes), device="cpu")
        assert isinstance(classifier, rf.TorchClassifier)
        rf.train(classifier, images, out=out, epochs=1, batch_size=4, held_out=0)
        return str(out / "weights.safetensors")

    return train


def test_images_are_known_by_their_fingerprint(weights: Callable[[rf.Dataset], str]) -> None:
    trained = rf.load_classifier("mlp300", weights=weights(drawn(0)), device="cpu")
    assert WARNING in rf.evaluate(trained, drawn(0)).to_dict()["warnings"]
    assert WARNING not in rf.evaluate(trained, drawn(1)).to_dict()["warnings"]  # of the same name


def test_other_images_of_the_same_split_are_known(weights: Callable[[rf.Dataset], str]) -> None:
    file = weights(rf.load_data("fashion-mnist", limit=8))
    trained = rf.load_classifier("mlp300", weights=file, device="cpu")
    others = rf.load_data("fashion-mnist", limit=20)
    for result in (rf.evaluate(trained, others), rf.transfer([trained], [trained], others)):
        assert any(WARNING in text for text in result.to_dict()["warnings"])
    standard = rf.load_classifier("mlp300", device="cpu")
    assert WARNING not in rf.evaluate(standard, others).to_dict()["warnings"]


def test_weights_without_a_card_say_nothing(weights: Callable[[rf.Dataset], str], tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(Path(weights(drawn(0))).read_bytes())
    trained = rf.load_classifier("mlp300", weights=str(alone), device="cpu")
    assert WARNING not in rf.evaluate(trained, drawn(0)).to_dict()["warnings"]


@pytest.mark.parametrize("card", ["[]", "{", '{"data": []}', '{"data": {"settings": [], "spec": 3}}'])
def test_another_file_of_that_name_says_nothing(card: str, weights: Callable[[rf.Dataset], str]) -> None:
    file = Path(weights(drawn(0)))
    (file.parent / "model-card.json").write_text(card)
    trained = rf.load_classifier("mlp300", weights=str(file), device="cpu")
    assert WARNING not in rf.evaluate(trained, drawn(0)).to_dict()["warnings"]
