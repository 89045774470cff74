"""A user's own FGSM: any callable from images to images, found by name and called in the style it was written in."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.references.candidate_styles import STYLES, check_signature, get_style, offers_targets
from robustbench_fgsm.user_code import load_user_function, on_import_path


@dataclass(frozen=True)
class Candidate:
    """A user's own attack.

    call: what the user wrote. style: a name of `STYLES`. targets: whether it can be told to aim at targets. version: of
    its module, where that has one. sha256: of the file it was read from. folder: importable while it runs, so that it
    may import its neighbours.
    """

    name: str
    call: Callable[..., object]
    style: str = "plain"
    targets: bool = False
    version: str = ""
    sha256: str = ""
    folder: str = ""

    def to_dict(self) -> dict[str, str | bool]:
        """The candidate as JSON knows it."""
        known = ("name", "style", "targets", "version", "sha256")
        return {key: getattr(self, key) for key in known}

    def call_attack(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, *, targeted: bool = False) -> object:
        """What the user's attack returns, in (N, C, H, W) and pixel space where it is a batch of images.

        model: from pixel space to logits, in evaluation mode. x: float32 (N, C, H, W). y: int64 (N,), the targets where
        targeted. Nothing is checked, and whatever the attack raises is raised.
        """
        with on_import_path(self.folder):
            return STYLES[self.style].adapt(self.call, model, x, y, epsilon, targeted)


def candidate_from_callable(call: Callable[..., object], style: str = "plain") -> Candidate:
    """A callable as a candidate; raises SettingError for an unknown style, or one that it cannot be called in."""
    get_style(style)
    name = getattr(call, "__name__", type(call).__name__)
    return _make_candidate(call, name, style, sys.modules.get(getattr(call, "__module__", "")), "")


def to_candidate(given: Candidate | Callable[..., object] | str | Path, style: str = "plain") -> Candidate:
    """A candidate however it is given; raises as `load_candidate` and `as_candidate` do."""
    if isinstance(given, Candidate):
        return given
    return load_candidate(str(given), style) if isinstance(given, str | Path) else candidate_from_callable(given, style)


def load_candidate(spec: str, style: str = "plain") -> Candidate:
    """The candidate that `pkg.mod:fn` or `path/to/file.py:fn` names; fn may have dots, as in `Class.method`.

    Runs the module: only ever load what you would run. The file's own folder, or for a module the current directory, is
    importable while it loads and while the candidate runs; `sys.path` is as before afterwards. style: how it is called.
    Raises SettingError where there is no such thing, it cannot be imported, or its style calls it with other arguments.
    """
    get_style(style)  # imports the style's library first, and without that library's side effects
    named = load_user_function(spec, "candidate", SettingError, expected_format="file.py:fn, pkg.mod:fn or adv.npz")
    return _make_candidate(named.function, named.name, style, named.module, named.folder)


def _make_candidate(call: Any, name: str, style: str, module: ModuleType | None, folder: str) -> Candidate:
    if not callable(call):
        raise SettingError(f"candidate must be callable, got {name}, which is of type {type(call).__name__}")
    check_signature(style, call)
    version = getattr(module, "__version__", "") or getattr(_root_package(module), "__version__", "")
    return Candidate(name, call, style, offers_targets(style, call), str(version), _file_sha256(module), folder)


def _root_package(module: ModuleType | None) -> ModuleType | None:
    return None if module is None else sys.modules.get(module.__name__.partition(".")[0])


def _file_sha256(module: ModuleType | None) -> str:
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""
