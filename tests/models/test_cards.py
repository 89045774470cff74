"""Model cards of the bundled weights."""

from __future__ import annotations

from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.cards import WEIGHTS_FOLDER, bundled_cards

AT_LEAST = {"resnet18": 9_050, "smallcnn": 9_150, "mlp300": 8_850, "mlp600": 8_850, "mlp900": 8_850}
"""Correct predictions that the standard weights must reach, of 10,000."""


def test_every_architecture_has_standard_weights() -> None:
    assert {card["name"] for card in bundled_cards() if card["weights"] == "standard"} == set(ARCHITECTURES) == set(AT_LEAST)


def test_no_weights_lie_about_without_a_card() -> None:
    assert {file.name for file in WEIGHTS_FOLDER.glob("*.safetensors")} == {card["file"] for card in bundled_cards()}
