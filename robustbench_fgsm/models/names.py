"""Names of models, checked without importing torch or torchvision."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from robustbench_fgsm.errors import ModelError, did_you_mean
from robustbench_fgsm.files.regular_files import read_text
from robustbench_fgsm.models.cards import BUNDLED_DATA, bundled_cards, is_weights_file
from robustbench_fgsm.models.registry import MODEL_SOURCES, find_model_source, sources_with_weights

BUNDLED_NAMES = ("resnet18", "smallcnn", "mlp300", "mlp600", "mlp900")
"""Architectures of the bundled weights."""

SOURCE_BY_SUFFIX = {".keras": "keras", ".skops": "sklearn", ".joblib": "sklearn"}
"""Sources of files that need their source before the name."""

REGISTERED_MODEL = re.compile(r"^@register_model(?:\(.*\))?\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def _source_of_models(package: str) -> str:
    """Return the source of a package's networks, empty if it is not installed."""
    found = find_spec(package)
    places = [] if found is None else list(found.submodule_search_locations or [])
    files = sorted(file for place in places for file in (Path(place) / "models").glob("*.py"))
    return "\n".join(read_text(file, follow_links=True) for file in files)


@cache
def registered_names(package: str) -> tuple[str, ...]:
    """Return the classification networks of torchvision or timm, sorted, as the source of the package registers them."""
    return tuple(sorted(REGISTERED_MODEL.findall(_source_of_models(package))))


def torchvision_names() -> tuple[str, ...]:
    """Return the classification networks of torchvision, sorted."""
    return registered_names("torchvision")


def check_torchvision_weights(name: str, weights: str) -> None:
    """Raise ModelError for weights that are neither `auto`, `none`, nor those of a network of torchvision."""
    source = _source_of_models("torchvision")
    used = re.search(rf"^def {name}\(\s*\*, weights: Optional\[(\w+)\]", source, re.MULTILINE)
    body = used and re.search(rf"^class {used[1]}\(WeightsEnum\):\n((?: .*\n|\n)+)", source, re.MULTILINE)
    known = re.findall(r"^    (\w+) = ", body[1], re.MULTILINE) if body else []
    if body and weights not in ("auto", "none", *known):
        raise unknown_torchvision_weights(name, weights, known)


def unknown_torchvision_weights(name: str, weights: str, known: Iterable[str]) -> ModelError:
    """Return the error for weights that are not among those known for a network of torchvision."""
    every = ["auto", "none", *known, *(["standard"] if name in BUNDLED_NAMES else [])]
    return ModelError(
        f"weights for {name} must be one of {', '.join(every)}, or a checkpoint such as FILE.safetensors, "
        f"got {weights!r}: {did_you_mean(weights, every)}"
    )


def is_bundled(name: str, weights: str, data: str | None) -> bool:
    """Return True if a plain name belongs to the bundled networks, not to torchvision, which also has a resnet18."""
    if name != "resnet18":
        return name in BUNDLED_NAMES
    shipped = {card["weights"] for card in bundled_cards() if card["name"] == name}
    ours = data in (None, BUNDLED_DATA) and (weights in ("auto", "none") or is_weights_file(weights))
    return ours or weights in shipped


def check_timm_name(name: str) -> None:
    """Raise ModelError for a name, with or without a tag, that timm's source does not hold, where old names stand in quotes."""
    architecture = name.partition(".")[0]
    is_old = re.search(f"[\"']{re.escape(architecture)}[\"']", _source_of_models("timm"))
    if architecture not in registered_names("timm") and not is_old:
        raise unknown_timm_name(name)


def unknown_timm_name(name: str) -> ModelError:
    """Return the error for a name that is not a network of timm."""
    return ModelError(
        f"timm model must be a name of timm, got {name!r}: {did_you_mean(name.partition('.')[0], registered_names('timm'))}"
    )


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
