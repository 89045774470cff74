"""A user's own FGSM: a callable from images to images, found by name and called in the style in which it was written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.normalisation import Normalisation
from robustbench_fgsm.attack.step import Epsilon
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.references.candidate_styles import (
    STYLES,
    argument_keywords,
    by_keyword,
    check_signature,
    get_style,
    offers_targets,
    with_statistics,
)
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.user_code import CANDIDATE_FORMAT, NO_IMPORT_PATH, ImportPath, load_user_function, on_import_path
from robustbench_fgsm.user_code_hash import hash_user_code


@dataclass(frozen=True)
class Candidate:
    """User's own attack.

    Args:
        name: short name.
        call: the user's function or class.
        style: name of `STYLES`, the style in which the attack is called.
        targets: the candidate has a targeted attack.
        version: version of its module, if the module has one.
        sha256: hash of its file, and of the user's own modules that it imports.
        import_path: places from which the candidate may import while it runs.
        note: how the call differs from that of the style; empty if it does not.
        statistics: mean (C,) and std (C,) of the normalised images that the candidate takes, if it has its own; None for those of
            each network.
    """

    name: str
    call: Callable[..., object]
    style: str = "plain"
    targets: bool = False
    version: str = ""
    sha256: str = ""
    import_path: ImportPath = NO_IMPORT_PATH
    note: str = ""
    statistics: tuple[Tensor, Tensor] | None = None

    __repr__ = short_repr

    def to_dict(self) -> dict[str, str | bool]:
        """Return the candidate's entry of a JSON document."""
        known = ("name", "style", "targets", "version", "sha256", "note")
        return {key: getattr(self, key) for key in known}

    def normalised_with(self, known: Normalisation) -> Candidate:
        """Return the candidate as one that takes images with this mean and std, which its note says."""
        note = f"It has its own mean and std, and gets images normalised with {known}."
        return replace(self, statistics=(torch.tensor(known.mean), torch.tensor(known.std)), note=note)

    def call_attack(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: Epsilon, *, targeted: bool = False) -> object:
        """Return what the user's attack returns, a batch of images in (N, C, H, W) and pixel space; nothing is checked.

        model: module from pixel space to logits, in evaluation mode. x: (N, C, H, W) float32. y: (N,) int64 labels, or targets.
        """
        if self.statistics is not None:
            places = torch.arange(x.shape[1]) % len(self.statistics[0])
            model = with_statistics(model, *(values[places] for values in self.statistics))
        with on_import_path(self.import_path):
            return STYLES[self.style].adapt(self.call, model, x, y, epsilon, targeted)


def candidate_from_callable(call: Callable[..., object], style: str = "plain") -> Candidate:
    """Return a callable as a candidate; raise SettingError for an unknown style, or a style that does not fit the callable."""
    get_style(style)
    name = getattr(call, "__name__", type(call).__name__)
    return _make_candidate(call, name, style, sys.modules.get(getattr(call, "__module__", "")))


def to_candidate(given: Candidate | Callable[..., object] | str | Path, style: str = "plain") -> Candidate:
    """Return the candidate that is given as a candidate, a callable or a spec."""
    if isinstance(given, Candidate):
        return given
    return load_candidate(str(given), style) if isinstance(given, str | Path) else candidate_from_callable(given, style)


def load_candidate(spec: str, style: str = "plain") -> Candidate:
    """Return the candidate that a spec names.

    The module is run: load only code that you would run. It may import from its own folder, or from the current directory if it is
    given as a module, while it loads and while it runs.

    Args:
        spec: `pkg.mod:fn` or `path/to/file.py:fn`; fn may have dots, as in `Class.method`.
        style: style in which the attack is called, a name of `STYLES`; `plain` is `fn(model, x, y, epsilon)`.

    Returns:
        Candidate that `compare` and `verify` take.

    Raises:
        SettingError: the function does not exist, cannot be imported, or does not fit the style.
    """
    get_style(style)  # imports the style's library first, and without that library's side effects
    loaded = load_user_function(spec, "candidate", SettingError, expected_format=CANDIDATE_FORMAT)
    return _make_candidate(loaded.function, loaded.name, style, loaded.module, loaded.import_path)


def _make_candidate(
    call: Any, name: str, style: str, module: ModuleType | None, import_path: ImportPath = NO_IMPORT_PATH
) -> Candidate:
    if not callable(call):
        raise SettingError(f"candidate must be callable, got {name}, which is of type {type(call).__name__}")
    check_signature(style, call)
    keywords = argument_keywords(style, call)
    note = ""
    if keywords:
        roles = zip(("the network", "the images", "the labels", "the budget"), keywords, strict=True)
        shown = ", ".join(f"{role} as {keyword}" for role, keyword in roles)
        call, note = by_keyword(call, keywords), f"Arguments are passed by name, because they are in another order: {shown}."
    version = getattr(module, "__version__", "") or getattr(_root_package(module), "__version__", "")
    with on_import_path(import_path):
        code = hash_user_code(module)
    return Candidate(name, call, style, offers_targets(style, call), str(version), code, import_path, note)


def _root_package(module: ModuleType | None) -> ModuleType | None:
    return None if module is None else sys.modules.get(module.__name__.partition(".")[0])
