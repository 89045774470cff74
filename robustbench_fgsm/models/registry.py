"""Registry of model sources: the source that a model spec names by its prefix or by the suffix of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.registry import Registry, RegistryEntry, refuse_address

if TYPE_CHECKING:  # a list of sources needs no PyTorch
    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.models.request import ModelListing, ModelRequest

PREFIXED_SPEC = re.compile(r"([a-z][a-z0-9_-]+):(.+)", re.DOTALL)
"""A prefix has at least two letters: one letter is a Windows drive."""

SUFFIX_ALIASES = dict.fromkeys((".pth", ".ckpt", ".tar", ".bin", ".safetensors"), ".pt")
"""Files of which some are TorchScript; the source of the others says what else they are."""


class ModelSource(Protocol):
    """Interface of a model source: what an entry point of the group `robustbench_fgsm.models` names.

    A source may also have `names() -> Iterator[ModelListing]`, which `rfgsm list models --filter` calls.
    """

    def load(self, request: ModelRequest) -> Classifier:
        """Return the classifier on the CPU; raise ModelError, or UnsafeError for a file that must not be loaded."""


def _entry(name: str, module: str, example: str, package: str = "", *, extra: str = "", runs_code: bool = False) -> RegistryEntry:
    return RegistryEntry(name, f"robustbench_fgsm.models.sources.{module}", example, package, extra, runs_code=runs_code)


MODEL_SOURCES = Registry(
    "models",
    "load(request)",
    ModelError,
    _entry("bundled", "bundled", "resnet18"),
    _entry("torchvision", "torchvision", "resnet50", "torchvision"),
    _entry("timm", "timm", "timm:NAME", "timm", extra="timm"),
    _entry("robustbench", "robustbench", "robustbench:NAME", "robustbench", extra="robustbench"),
    _entry("hf", "huggingface", "hf:ORG/NAME", "transformers", extra="hf"),
    _entry("sklearn", "sklearn", "sklearn:FILE.skops", "skops", extra="sklearn"),
    _entry("keras", "keras", "keras:FILE.keras", "keras", extra="keras"),
    _entry("factory", "factory", "factory:pkg.mod:fn", runs_code=True),
    _entry(".pt2", "exported_program", "FILE.pt2", runs_code=True),
    _entry(".pt", "exported_program", "FILE.pt (TorchScript)", runs_code=True),
    _entry(".onnx", "onnx", "FILE.onnx", "onnx2torch", extra="onnx"),
)


def find_model_source(spec: str) -> tuple[RegistryEntry | None, str]:
    """Return the source of a spec, None for a plain name, and the spec without its prefix; raise ModelError if unknown."""
    refuse_address(spec, "model", "hf", ModelError)
    name, argument = _split_spec(spec)
    if argument != spec:
        prefixed = {key: entry for key, entry in MODEL_SOURCES.entries().items() if not key.startswith(".")}
        return MODEL_SOURCES.find(name, prefixed), argument
    return (MODEL_SOURCES.find(name) if name in MODEL_SOURCES.built_in else None), spec


def _split_spec(spec: str) -> tuple[str, str]:
    """Return the prefix of a spec, or the suffix if it has none, and the part of the spec that the source reads."""
    prefixed = PREFIXED_SPEC.fullmatch(spec)
    if prefixed is not None:
        return prefixed[1], prefixed[2]
    suffix = Path(spec).suffix.lower()
    return SUFFIX_ALIASES.get(suffix, suffix), spec


def runs_code(spec: str) -> bool:
    """Return True if loading the model runs code that the spec, or the file that the spec names, chooses."""
    name, _ = _split_spec(spec)
    return name in MODEL_SOURCES.built_in and MODEL_SOURCES.built_in[name].runs_code


def sources_with_weights() -> set[str]:
    """Return sources whose models may be named with weights behind a second colon.

    A factory's function has a colon itself, and a file or folder has its own weights.
    """
    return {key for key, entry in MODEL_SOURCES.entries().items() if key not in ("factory", "hf") and "FILE" not in entry.example}


def model_names() -> Iterator[tuple[str, ModelListing]]:
    """Yield source and model for every source that is installed, can be imported and has a list; bundled ones excepted."""
    for name, entry in MODEL_SOURCES.entries().items():
        if name == "bundled" or entry.installed_version is None:
            continue
        try:
            listed = getattr(MODEL_SOURCES.load(entry), "names", None)
            yield from ((name, found) for found in (listed() if listed is not None else ()))
        except (ImportError, ModelError):
            continue
