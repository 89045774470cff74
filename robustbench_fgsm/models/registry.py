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
    from robustbench_fgsm.models.request import ModelName, ModelRequest

GROUP = "robustbench_fgsm.models"
PREFIX = re.compile(r"([a-z][a-z0-9_-]+):(.+)", re.DOTALL)
"""At least two letters, for one letter is a drive."""


class Source(Protocol):
    """What an entry point of the group names: a module, or any object with this function.

    It may also have `names() -> Iterator[ModelName]`, which `rfgsm list models --filter` asks.
    """

    def load(self, request: ModelRequest) -> Classifier:
        """The classifier, on the CPU; raises ModelError, or UnsafeError for what must not be loaded."""


@dataclass(frozen=True)
class SourceCard:
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
    def install(self) -> str:
        """The line that installs what it needs."""
        return f"pip install 'robustbench-fgsm[{self.extra}]'" if self.extra else f"pip install {self.package}"

    @property
    def installed(self) -> str | None:
        """The version of the package it needs, of ours where it needs none; None where it is not installed."""
        try:
            return version(self.package or "robustbench-fgsm")
        except PackageNotFoundError:
            return None

    def open(self) -> Any:
        """The module, imported; raises ModelError with the line to install where its package is missing."""
        if self.installed is None:
            raise ModelError(f"{self.example} needs the package {self.package}, got none installed: {self.install}")
        return import_module(self.module)


SOURCES_PACKAGE = "robustbench_fgsm.models.sources"
NAMES = {
    "bundled": SourceCard(f"{SOURCES_PACKAGE}.bundled", "resnet18"),
    "torchvision": SourceCard(f"{SOURCES_PACKAGE}.torchvision", "resnet50", "torchvision"),
}
"""Sources whose models are named without a prefix, in the order in which they are asked."""

PREFIXES = {
    "timm": SourceCard(f"{SOURCES_PACKAGE}.timm", "timm:NAME", "timm", "timm"),
    "robustbench": SourceCard(f"{SOURCES_PACKAGE}.robustbench", "robustbench:NAME", "robustbench", "robustbench"),
    "hf": SourceCard(f"{SOURCES_PACKAGE}.huggingface", "hf:ORG/NAME", "transformers", "hf"),
    "sklearn": SourceCard(f"{SOURCES_PACKAGE}.sklearn", "sklearn:FILE.skops", "skops", "sklearn"),
    "factory": SourceCard(f"{SOURCES_PACKAGE}.factory", "factory:pkg.mod:fn", runs_code=True),
}
SUFFIXES = {
    ".pt2": SourceCard(f"{SOURCES_PACKAGE}.exported_program", "FILE.pt2", runs_code=True),
    ".pt": SourceCard(f"{SOURCES_PACKAGE}.exported_program", "FILE.pt (TorchScript)", runs_code=True),
    ".pth": SourceCard(f"{SOURCES_PACKAGE}.exported_program", "FILE.pth", runs_code=True),
    ".onnx": SourceCard(f"{SOURCES_PACKAGE}.onnx", "FILE.onnx", "onnx2torch", "onnx"),
}


def find_source(spec: str) -> tuple[Any, str]:
    """The source of a spec, and the part of the spec that is its own; None where the spec is a plain name.

    Raises ModelError for an unknown prefix, and where the source's package is not installed.
    """
    card, name = find_card(spec)
    if card is not None:
        return card.open(), name
    prefix = PREFIX.fullmatch(spec)
    if prefix is None:
        return None, spec
    third = {point.name: point for point in entry_points(group=GROUP)}
    if prefix[1] not in third:
        known = {**PREFIXES, **third}
        raise ModelError(
            f"model source must be of {', '.join(known)}, got {prefix[1]!r}: {did_you_mean(prefix[1], known)}"
        )
    return third[prefix[1]].load(), prefix[2]


def find_card(spec: str) -> tuple[SourceCard | None, str]:
    """The card of a built-in source that a prefix or a file's suffix names, and the source's own part of the spec."""
    prefix = PREFIX.fullmatch(spec)
    if prefix is not None:
        return PREFIXES.get(prefix[1]), prefix[2]
    return SUFFIXES.get(Path(spec).suffix.lower()), spec


def runs_code(spec: str) -> bool:
    """Whether loading the model runs code that the spec, or the file that it names, chooses."""
    card, _ = find_card(spec)
    return card is not None and card.runs_code


def source_cards() -> Iterator[tuple[str, SourceCard]]:
    """Every source by name, those of other packages last."""
    yield from NAMES.items()
    yield from PREFIXES.items()
    yield from ((suffix, card) for suffix, card in SUFFIXES.items() if suffix != ".pth")
    for point in entry_points(group=GROUP):
        if point.name not in PREFIXES:
            package = point.dist.name if point.dist is not None else ""
            yield point.name, SourceCard(point.module, f"{point.name}:NAME", package)


def weighable_sources() -> set[str]:
    """Sources whose models may be named with weights behind a second colon: all but factories, whose functions have one."""
    return {name for name, _ in source_cards()} - {"factory"}


def model_names() -> Iterator[tuple[str, ModelName]]:
    """Models of every source that is installed, can be imported and has a list, with the source's name; not the bundled."""
    for name, card in source_cards():
        if name == "bundled" or card.installed is None:
            continue
        try:
            listed = getattr(card.open(), "names", None)
            yield from ((name, found) for found in (listed() if listed is not None else ()))
        except (ImportError, ModelError):
            continue
