"""Model cards of the bundled weights."""

from __future__ import annotations

from robustbench_fgsm.models.cards import WEIGHTS_FOLDER, bundled_cards


def test_all_weights_have_a_card() -> None:
    assert {file.name for file in WEIGHTS_FOLDER.glob("*.safetensors")} == {card["file"] for card in bundled_cards()}
