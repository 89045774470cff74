"""Names of models, checked without importing torch or torchvision."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from robustbench_fgsm.errors import ModelError, did_you_mean
from robustbench_fgsm.files.regular_files import read_text
from robustbench_fgsm.models.registry import MODEL_SOURCES, find_model_source, sources_with_weights

BUNDLED_NAMES = ("resnet18", "smallcnn", "mlp300", "mlp600", "mlp900")
"""Architectures of the bundled weights."""

SOURCE_BY_SUFFIX = {".keras": "keras", ".skops": "sklearn", ".joblib": "sklearn"}
"""Sources of files that need their source before the name."""

REGISTERED_MODEL = re.compile(r"^@register_model\(.*\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def torchvision_names() -> tuple[str, ...]:
    """Return the classification networks of torchvision, sorted, as its source registers them."""
    package = find_spec("torchvision")
    places = [] if package is None else list(package.submodule_search_locations or [])
    files = sorted(file for place in places for file in (Path(place) / "models").glob("*.py"))
    return tuple(sorted(name for file in files for name in REGISTERED_MODEL.findall(read_text(file, follow_links=True))))


def check_torchvision_name(name: str) -> None:
    """Raise ModelError for a name that is neither bundled nor a classification network of torchvision."""
    known = torchvision_names()
    if name not in known:
        if (suffix := Path(name).suffix.lower()) in SOURCE_BY_SUFFIX:
            raise ModelError(f"model files of {suffix} need their source, got {name!r}: pass {SOURCE_BY_SUFFIX[suffix]}:{name}")
        if ".py:" in name:
            raise ModelError(f"model must be a name of `rfgsm list models`, got {name!r}: did you mean factory:{name}?")
        near = get_close_matches(name, BUNDLED_NAMES, cutoff=0.8) or get_close_matches(name, {*known, *BUNDLED_NAMES}, cutoff=0.5)
        remedy = (
            did_you_mean(name, near)
            if near
            else (f"choose from {', '.join(sorted(BUNDLED_NAMES))}, torchvision's names such as resnet50, or SOURCE:NAME")
        )
        raise ModelError(f"model must be a name of `rfgsm list models`, got {name!r}: {remedy}")


def check_model(model: str) -> None:
    """Raise ModelError for a spec that no source knows, or whose source is not installed."""
    entry, name = find_model_source(model)
    if entry is None and name not in BUNDLED_NAMES:
        check_torchvision_name(name)


def split_model_and_weights(spec: str) -> tuple[str, str]:
    """Return model and weights of MODEL or MODEL:WEIGHTS; MODEL may be SOURCE:NAME, and weights are `auto` by default."""
    first, colon, rest = spec.partition(":")
    if colon and first in sources_with_weights():
        name, _, weights = rest.partition(":")
        return f"{first}:{name}", weights or "auto"
    if colon and first not in MODEL_SOURCES.entries() and (first in BUNDLED_NAMES or first in torchvision_names()):
        return first, rest
    return spec, "auto"
