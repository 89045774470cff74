"""Which source a model spec belongs to: built in, or of another package that declares an entry point."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from robustbench_fgsm.errors import ModelError, did_you_mean

if TYPE_CHECKING:  # a list of sources needs no PyTorch
    from robustbench_fgsm.models.classifier import Classifier
    from robustbench_fgsm.models.request import ModelListing, ModelRequest

MODEL_ENTRY_POINT_GROUP = "robustbench_fgsm.models"
PREFIXED_SPEC = re.compile(r"([a-z][a-z0-9_-]+):(.+)", re.DOTALL)
"""At least two letters, for one letter is a drive."""


class ModelSource(Protocol):
    """What an entry point of the group names: a module, or any object with this function.

    It may also have `names() -> Iterator[ModelName]`, which `rfgsm list models --filter` asks.
    """

    def load(self, request: ModelRequest) -> Classifier:
        """The classifier, on the CPU; raises ModelError, or UnsafeError for what must not be loaded."""


@dataclass(frozen=True)
class ModelSourceInfo:
    """How a source is named, where its code is, and what has to be installed for it.

    example: a spec. package: the distribution it needs, and extra: our name for it; empty where nothing is missing ever.
    runs_code: whether loading a model runs code that the spec or the file names.
    """

    module: str
    example: str
    package: str = ""
    extra: str = ""
    runs_code: bool = False

    @property
    def install_command(self) -> str:
        """The line that installs what it needs."""
        return f"pip install 'robustbench-fgsm[{self.extra}]'" if self.extra else f"pip install {self.package}"

    @property
    def installed_version(self) -> str | None:
        """The version of the package it needs, of ours where it needs none; None where it is not installed."""
        try:
            return version(self.package or "robustbench-fgsm")
        except PackageNotFoundError:
            return None

    def load_module(self) -> Any:
        """The module, imported; raises ModelError with the line to install where its package is missing."""
        if self.installed_version is None:
            raise ModelError(f"{self.example} needs the package {self.package}, got none installed: {self.install_command}")
        return import_module(self.module)


SOURCES_PACKAGE = "robustbench_fgsm.models.sources"
SOURCES_WITHOUT_PREFIX = {
    "bundled": ModelSourceInfo(f"{SOURCES_PACKAGE}.bundled", "resnet18"),
    "torchvision": ModelSourceInfo(f"{SOURCES_PACKAGE}.torchvision", "resnet50", "torchvision"),
}
"""Sources whose models are named without a prefix, in the order in which they are asked."""

SOURCES_BY_PREFIX = {
    "timm": ModelSourceInfo(f"{SOURCES_PACKAGE}.timm", "timm:NAME", "timm", "timm"),
    "robustbench": ModelSourceInfo(f"{SOURCES_PACKAGE}.robustbench", "robustbench:NAME", "robustbench", "robustbench"),
    "hf": ModelSourceInfo(f"{SOURCES_PACKAGE}.huggingface", "hf:ORG/NAME", "transformers", "hf"),
    "sklearn": ModelSourceInfo(f"{SOURCES_PACKAGE}.sklearn", "sklearn:FILE.skops", "skops", "sklearn"),
    "factory": ModelSourceInfo(f"{SOURCES_PACKAGE}.factory", "factory:pkg.mod:fn", runs_code=True),
}
SOURCES_BY_SUFFIX = {
    ".pt2": ModelSourceInfo(f"{SOURCES_PACKAGE}.exported_program", "FILE.pt2", runs_code=True),
    ".pt": ModelSourceInfo(f"{SOURCES_PACKAGE}.exported_program", "FILE.pt (TorchScript)", runs_code=True),
    ".pth": ModelSourceInfo(f"{SOURCES_PACKAGE}.exported_program", "FILE.pth", runs_code=True),
    ".onnx": ModelSourceInfo(f"{SOURCES_PACKAGE}.onnx", "FILE.onnx", "onnx2torch", "onnx"),
}


def find_model_source(spec: str) -> tuple[Any, str]:
    """The source of a spec, and the part of the spec that is its own; None where the spec is a plain name.

    Raises ModelError for an unknown prefix, and where the source's package is not installed.
    """
    card, name = find_source_info(spec)
    if card is not None:
        return card.load_module(), name
    prefix = PREFIXED_SPEC.fullmatch(spec)
    if prefix is None:
        return None, spec
    third = {point.name: point for point in entry_points(group=MODEL_ENTRY_POINT_GROUP)}
    if prefix[1] not in third:
        known = {**SOURCES_BY_PREFIX, **third}
        raise ModelError(f"model source must be of {', '.join(known)}, got {prefix[1]!r}: {did_you_mean(prefix[1], known)}")
    return third[prefix[1]].load(), prefix[2]


def find_source_info(spec: str) -> tuple[ModelSourceInfo | None, str]:
    """The card of a built-in source that a prefix or a file's suffix names, and the source's own part of the spec."""
    prefix = PREFIXED_SPEC.fullmatch(spec)
    if prefix is not None:
        return SOURCES_BY_PREFIX.get(prefix[1]), prefix[2]
    return SOURCES_BY_SUFFIX.get(Path(spec).suffix.lower()), spec


def runs_code(spec: str) -> bool:
    """Whether loading the model runs code that the spec, or the file that it names, chooses."""
    card, _ = find_source_info(spec)
    return card is not None and card.runs_code


def model_sources() -> Iterator[tuple[str, ModelSourceInfo]]:
    """Every source by name, those of other packages last."""
    yield from SOURCES_WITHOUT_PREFIX.items()
    yield from SOURCES_BY_PREFIX.items()
    yield from ((suffix, card) for suffix, card in SOURCES_BY_SUFFIX.items() if suffix != ".pth")
    for point in entry_points(group=MODEL_ENTRY_POINT_GROUP):
        if point.name not in SOURCES_BY_PREFIX:
            package = point.dist.name if point.dist is not None else ""
            yield point.name, ModelSourceInfo(point.module, f"{point.name}:NAME", package)


def sources_with_weights() -> set[str]:
    """Sources whose models may be named with weights behind a second colon: all but factories, whose functions have one."""
    return {name for name, _ in model_sources()} - {"factory"}


def model_names() -> Iterator[tuple[str, ModelListing]]:
    """Models of every source that is installed, can be imported and has a list, with the source's name; not the bundled."""
    for name, card in model_sources():
        if name == "bundled" or card.installed_version is None:
            continue
        try:
            listed = getattr(card.load_module(), "names", None)
            yield from ((name, found) for found in (listed() if listed is not None else ()))
        except (ImportError, ModelError):
            continue
