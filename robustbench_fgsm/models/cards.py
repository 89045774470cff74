"""Model cards of the bundled weights: architecture, training recipe and accuracy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUNDLED_DATA = "fashion-mnist"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"


def bundled_cards() -> Iterator[dict[str, Any]]:
    """Yield the model cards of all bundled weights, by file name."""
    for file in sorted(WEIGHTS_FOLDER.glob("*.json")):
        yield json.loads(file.read_text())


def weights_file(card: dict[str, Any]) -> Path:
    """Return the path of a card's weights."""
    return WEIGHTS_FOLDER / str(card["file"])
