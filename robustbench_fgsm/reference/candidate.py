"""A user's own FGSM: any callable from images to images, found by name and called in the style it was written in."""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.reference.adapters import STYLES, check_arguments, get_style, offers_targets


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

    def craft(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, *, targeted: bool = False) -> object:
        """What the user's attack returns, in (N, C, H, W) and pixel space where it is a batch of images.

        model: from pixel space to logits, in evaluation mode. x: float32 (N, C, H, W). y: int64 (N,), the targets where
        targeted. Nothing is checked, and whatever the attack raises is raised.
        """
        with _importable(self.folder):
            return STYLES[self.style].adapt(self.call, model, x, y, epsilon, targeted)


def as_candidate(call: Callable[..., object], style: str = "plain") -> Candidate:
    """A callable as a candidate; raises SettingError for an unknown style, or one that it cannot be called in."""
    get_style(style)
    name = getattr(call, "__name__", type(call).__name__)
    return _checked(call, name, style, sys.modules.get(getattr(call, "__module__", "")), "")


def load_candidate(spec: str, style: str = "plain") -> Candidate:
    """The candidate that `pkg.mod:fn` or `path/to/file.py:fn` names; fn may have dots, as in `Class.method`.

    Runs the module: only ever load what you would run. The file's own folder, or for a module the current directory, is
    importable while it loads and while the candidate runs; `sys.path` is as before afterwards. style: how it is called.
    Raises SettingError where there is no such thing, it cannot be imported, or its style calls it with other arguments.
    """
    get_style(style)  # imports the style's library first, and without that library's side effects
    place, colon, path = spec.rpartition(":")
    if not (colon and place and path):
        raise SettingError(
            f"candidate must look like file.py:fn, pkg.mod:fn or adv.npz, got {spec!r}: name the function too"
        )
    if place.endswith(".py") or "/" in place or "\\" in place:
        file = Path(place)
        module, name, folder = _import_file(file), f"{file.name}:{path}", str(file.resolve().parent)
    else:
        module, name, folder = _import_module(place), spec, str(Path.cwd())
    return _checked(_find(module, path, place), name, style, module, folder)


def _checked(call: Any, name: str, style: str, module: ModuleType | None, folder: str) -> Candidate:
    if not callable(call):
        raise SettingError(f"candidate must be callable, got {name}, which is of type {type(call).__name__}")
    check_arguments(style, call)
    version = getattr(module, "__version__", "") or getattr(_package_of(module), "__version__", "")
    return Candidate(name, call, style, offers_targets(style, call), str(version), _hash(module), folder)


def _package_of(module: ModuleType | None) -> ModuleType | None:
    return None if module is None else sys.modules.get(module.__name__.partition(".")[0])


def _hash(module: ModuleType | None) -> str:
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise SettingError(f"candidate must be in a file, got {file}, which does not exist: check the path")
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    name = f"rfgsm_candidate_{file.stem}_{digest}"  # its own, so that no module of the same name is hidden
    found = spec_from_file_location(name, file)
    if found is None or found.loader is None:
        raise SettingError(f"candidate must be in a Python file, got {file}: rename it to end in .py")
    module = module_from_spec(found)
    sys.modules[name] = module  # dataclasses and pickles look their module up there
    try:
        with _importable(str(file.resolve().parent)):
            found.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's module does
        del sys.modules[name]
        raise _import_error(str(file), error) from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        with _importable(str(Path.cwd())):
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_error(name, error) from error
        raise SettingError(
            f"candidate must be in a module that can be imported, got {name}, and there is no module {error.name}: "
            "install it, run from the directory it is in, or give path/to/file.py:fn"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the user's module does
        raise _import_error(name, error) from error


def _import_error(place: str, error: BaseException) -> SettingError:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return SettingError(f"candidate must find what it imports, got no module {error.name}, which {place} imports")
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, SyntaxError) else f" (line {last.lineno} of {Path(last.filename).name})"
    return SettingError(
        f"candidate must import without an error, got {brief(error)}{where} from {place}: mend it first"
    )


def brief(error: BaseException) -> str:
    """Type and message of an error, in one line that is not too long."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= 200 else f"{text[:199]}…"


def _find(module: ModuleType, path: str, place: str) -> object:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            owner = place if found is module else f"{found.__name__} in {place}"
            known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
            own = [key for key in known if getattr(vars(found)[key], "__module__", None) == module.__name__] or known
            remedy = did_you_mean(name, own[:20]) if own else "it defines no function"
            raise SettingError(f"candidate must be a function of {owner}, got {name!r}: {remedy}")
        found = getattr(found, name)
    return found


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    """The folder first on `sys.path` inside, and the path as it was afterwards, whatever was done to it."""
    before = list(sys.path)
    if folder:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path[:] = before
