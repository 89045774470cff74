"""Weights that `rfgsm train` wrote: a safetensors file with a description of its network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.request import ModelRequest

WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "model-card.json"
METADATA_KEY = "rfgsm"
"""Under which the file's metadata hold the description, as JSON."""


def weights_bytes(state: dict[str, Tensor], description: dict[str, Any]) -> bytes:
    """Return a safetensors file of the state dict; description: num_classes, classes, mean, std, bounds and shape of images."""
    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return save(plain, metadata={METADATA_KEY: json.dumps(description)})


def complete_request(request: ModelRequest) -> ModelRequest:
    """Return the request with the file in a directory of `rfgsm train`, completed by the file's description of its network.

    Settings of the request have priority. Raises ModelError for a directory without weights.
    """
    path = Path(request.weights)
    if not request.has_weights_file and path.is_dir() and (path / WEIGHTS_FILE).is_file():
        request = replace(request, weights=str(path / WEIGHTS_FILE))
    elif "/" in request.weights and path.is_dir():
        raise ModelError(f"weights must be a file or a directory that `rfgsm train` wrote, got {path} without {WEIGHTS_FILE}")
    description = _read_description(Path(request.weights)) if request.weights.endswith(".safetensors") else {}
    names = ("num_classes", "classes", "mean", "std", "bounds", "shape")
    described = {name: description[name] for name in names if name in description and getattr(request, name) is None}
    hashable: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
    return replace(request, **hashable)


def _read_description(file: Path) -> dict[str, Any]:
    """Return the file's description; empty for other files, and for files that the loader will refuse."""
    try:
        with safe_open(file, "pt") as stream:
            description = json.loads((stream.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    return description if isinstance(description, dict) else {}
