"""Weights that `rfgsm train` wrote: a safetensors file with a description of its network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PositiveFloat, model_validator
from safetensors.torch import save
from torch import Tensor

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.feature_values import StoredValues
from robustbench_fgsm.files.array_files import open_safetensors
from robustbench_fgsm.files.json_files import parse_json
from robustbench_fgsm.files.validation import FileSchema, validate
from robustbench_fgsm.models.cards import file_of_weights
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.spec import MAX_CLASSES, check_bounds

CARD_FILE = "model-card.json"
METADATA_KEY = "rfgsm"
"""Under which the file's metadata hold the description, as JSON."""

MAX_SIDE = 2**16


class NetworkDescription(FileSchema):
    """What a file of weights says of its network."""

    num_classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)] | None = None
    classes: list[str] | None = None
    mean: float | Annotated[list[float], Field(min_length=1)] | None = None
    std: PositiveFloat | Annotated[list[PositiveFloat], Field(min_length=1)] | None = None
    bounds: Annotated[list[StoredValues], Field(min_length=2, max_length=2)] | None = None
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MAX_SIDE)]], Field(min_length=1, max_length=4)] | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.classes is not None and len(self.classes) != self.num_classes:
            raise ValueError(f"{len(self.classes)} classes of {self.num_classes}")
        if self.bounds is not None:
            check_bounds(self.bounds)
        return self


def weights_bytes(state: dict[str, Tensor], description: dict[str, Any]) -> bytes:
    """Return a safetensors file of the state dict; description: num_classes, classes, mean, std, bounds and shape of images."""
    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return save(plain, metadata={METADATA_KEY: json.dumps(description)})


def complete_request(request: ModelRequest) -> ModelRequest:
    """Return the request with the file in a directory of `rfgsm train`, completed by the file's description of its network.

    Settings of the request have priority. Raises ModelError for a directory without weights.
    """
    request = replace(request, weights=file_of_weights(request.weights))
    description = _read_description(Path(request.weights)) if request.weights.endswith(".safetensors") else {}
    described = {name: value for name, value in description.items() if getattr(request, name) is None}
    hashable: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
    return replace(request, **hashable)


def _read_description(file: Path) -> dict[str, Any]:
    """Return the file's description; empty for other files, and for files that the loader will refuse."""
    try:
        with open_safetensors(file, follow_links=True) as stored:
            text = (stored.metadata() or {}).get(METADATA_KEY)
    except (ValueError, OSError):
        return {}
    if text is None:
        return {}
    source = f"metadata {METADATA_KEY!r} of {file}"
    remedy = "save the state dict again without metadata, and pass --num-classes, --mean and --std"
    return validate(NetworkDescription, parse_json(text, source), source, ModelError, remedy).model_dump(exclude_none=True)
