"""The networks whose Fashion-MNIST weights ship with the package: float16 in safetensors, each with its model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from robustbench_fgsm.errors import ModelError, did_you_mean
from robustbench_fgsm.models.architectures import ARCHITECTURES
from robustbench_fgsm.models.checkpoint import load_weights, read_weights
from robustbench_fgsm.models.classifier import ModelInfo, PixelSpace, TorchClassifier, count_parameters, hash_weights

DATA = "fashion-mnist"
FOLDER = Path(__file__).parent / "weights"


def cards() -> Iterator[dict[str, Any]]:
    """Model cards of all bundled weights, by file name."""
    for file in sorted(FOLDER.glob("*.json")):
        yield json.loads(file.read_text())


def model_card(name: str, weights: str) -> dict[str, Any]:
    """The card of one network's bundled weights; raises ModelError where there are none of that name."""
    found = {card["weights"]: card for card in cards() if card["name"] == name}
    if weights not in found:
        raise ModelError(
            f"weights for {name} must be one of {', '.join(sorted(found))}, got {weights!r}: {did_you_mean(weights, found)}"
        )
    return found[weights]


def load_bundled(name: str, weights: str = "standard") -> TorchClassifier:
    """One of the bundled networks; weights: `standard`, `none` for the architecture alone, or a safetensors file.

    A file has to fit the bundled architecture, and its normalisation is taken to be the bundled one. Raises ModelError
    where weights are unknown, damaged or do not fit.
    """
    network = ARCHITECTURES[name]()
    own = weights.endswith(".safetensors")
    card = model_card(name, "standard" if own or weights == "none" else weights)
    if own:
        load_weights(network, read_weights(Path(weights)), weights)
    elif weights != "none":
        load_weights(network, read_weights(_verified(card)), card["file"])
    return _classifier(network, card, weights)


def _verified(card: dict[str, Any]) -> Path:
    file = FOLDER / str(card["file"])
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "no file"
    if digest != card["sha256"]:
        raise ModelError(
            f"bundled weights {file.name} must have sha256 {card['sha256'][:12]}, got {digest[:12]}: install the package again"
        )
    return file


def _classifier(network: nn.Module, card: dict[str, Any], weights: str) -> TorchClassifier:
    recipe = card["recipe"]
    info = ModelInfo(card["name"], weights, count_parameters(network), hash_weights(network))
    pixel_space = PixelSpace(network, recipe["mean"], recipe["std"], recipe["channels"])
    return TorchClassifier(pixel_space, len(card["classes"]), tuple(card["classes"]), (0.0, 1.0), info)
