"""Cards of the bundled weights: what they are, how they were made, and how good they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUNDLED_DATA = "fashion-mnist"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"


def bundled_cards() -> Iterator[dict[str, Any]]:
    """Model cards of all bundled weights, by file name."""
    for file in sorted(WEIGHTS_FOLDER.glob("*.json")):
        yield json.loads(file.read_text())


def weights_file(card: dict[str, Any]) -> Path:
    """Where the weights of a card lie."""
    return WEIGHTS_FOLDER / str(card["file"])
