"""Names of weights: the model cards of the bundled ones, and files of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ModelError, did_you_mean
from robustbench_fgsm.files.json_files import read_json
from robustbench_fgsm.files.regular_files import is_directory, is_file

BUNDLED_DATA = "fashion-mnist"
WEIGHTS_FILE = "weights.safetensors"
"""File of weights in a directory of `rfgsm train`."""
WEIGHT_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
WEIGHTS_FOLDER = Path(__file__).parent / "weights"


def bundled_cards() -> Iterator[dict[str, Any]]:
    """Yield the model cards of all bundled weights, by file name."""
    for file in sorted(WEIGHTS_FOLDER.glob("*.json")):
        yield read_json(file, follow_links=True)


def weights_file(card: dict[str, Any]) -> Path:
    """Return the path of a card's weights."""
    return WEIGHTS_FOLDER / str(card["file"])


def model_card(name: str, weights: str) -> dict[str, Any]:
    """Return the card of a network's bundled weights; raise ModelError if there are no weights of that name."""
    found = {card["weights"]: card for card in bundled_cards() if card["name"] == name}
    if weights not in found:
        known = ["auto", "none", *sorted(found)]
        raise ModelError(
            f"weights for {name} must be one of {', '.join(known)}, or a checkpoint such as FILE.safetensors, "
            f"got {weights!r}: {did_you_mean(weights, known)}"
        )
    return found[weights]


def file_of_weights(weights: str) -> str:
    """Return the file in a directory of `rfgsm train`, and other weights as they are; raise ModelError for another directory."""
    path = Path(weights)
    if is_weights_file(weights) or not is_directory(path):
        return weights
    if is_file(path / WEIGHTS_FILE):
        return str(path / WEIGHTS_FILE)
    if "/" in weights:
        raise ModelError(f"weights must be a file or a directory that `rfgsm train` wrote, got {path} without {WEIGHTS_FILE}")
    return weights


def is_weights_file(weights: str) -> bool:
    """Return True if weights names a file of the user's own."""
    is_path = "/" in weights or "." in weights
    return weights.lower().endswith(WEIGHT_FILE_SUFFIXES) or (is_path and is_file(Path(weights)))
