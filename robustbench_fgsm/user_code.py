"""Loading of a user's own function, `pkg.mod:fn` or `file.py:fn`, for every option that takes one."""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from robustbench_fgsm.errors import InputError, describe_error, did_you_mean

FUNCTION_SPEC_FORMAT = "file.py:fn or pkg.mod:fn"


@dataclass(frozen=True)
class ImportPath:
    """Places from which a user's module may import: at the front of `sys.path`, and at its end."""

    front: tuple[str, ...] = ()
    end: tuple[str, ...] = ()


NO_IMPORT_PATH = ImportPath()


@dataclass(frozen=True)
class UserFunction:
    """Loaded function, its short name, its module, and the places from which the module may import."""

    function: Any
    name: str
    module: ModuleType
    import_path: ImportPath


def load_user_function(
    spec: str, role: str, error_type: type[InputError], *, expected_format: str = FUNCTION_SPEC_FORMAT
) -> UserFunction:
    """Return the function that a spec names; the part after the colon may have dots, as in `Class.method`.

    The module is run: load only code that you would run. While the module loads, it may import from its own folder, or from the
    current directory if it is given as a module. `sys.path` is restored afterwards; what the module added is in `import_path`.
    role: word for the function in messages. Raises error_type if the function does not exist, cannot be imported or cannot be
    called.
    """
    location, colon, path = spec.rpartition(":")
    if not (colon and location and path):
        raise error_type(f"{role} must look like {expected_format}, got {spec!r}: name the function too")
    loader = _UserCodeLoader(role, error_type)
    if location.endswith(".py") or "/" in location or "\\" in location:
        file = Path(location)
        module, places = loader.load_file(file)
        return UserFunction(loader.find_function(module, path, location), f"{file.name}:{path}", module, places)
    module, places = loader.load_module(location)
    return UserFunction(loader.find_function(module, path, location), spec, module, places)


@contextmanager
def on_import_path(places: ImportPath) -> Iterator[None]:
    """Put the places on `sys.path`; afterwards restore `sys.path`, whatever the body did to it."""
    before = list(sys.path)
    sys.path[:] = [*places.front, *before, *places.end]
    try:
        yield
    finally:
        sys.path[:] = before


def _import_path(folder: Path, left: Sequence[str]) -> ImportPath:
    """Return a folder and what a module added to `sys.path`, which the module left like this."""
    known = [place for place, entry in enumerate(left) if entry in sys.path]
    added = [(place, entry) for place, entry in enumerate(left) if entry not in (*sys.path, str(folder))]
    front = [entry for place, entry in added if place < min(known, default=len(left))]
    return ImportPath((*front, str(folder)), tuple(entry for _, entry in added if entry not in front))


@dataclass(frozen=True)
class _UserCodeLoader:
    role: str
    error_type: type[InputError]

    def load_file(self, file: Path) -> tuple[ModuleType, ImportPath]:
        if not file.is_file():
            raise self.error_type(f"{self.role} must be in a file, got {file}, which does not exist: check the path")
        digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
        name = f"rfgsm_{file.stem}_{digest}"  # its own, so that no module of the same name is hidden
        spec = spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise self.error_type(f"{self.role} must be in a Python file, got {file}: rename it to end in .py")
        module = module_from_spec(spec)
        folder = file.resolve().parent
        sys.modules[name] = module  # dataclasses and pickles look their module up there
        try:
            with on_import_path(ImportPath((str(folder),))):
                spec.loader.exec_module(module)
                left = list(sys.path)
        except (Exception, SystemExit) as error:  # whatever the user's module does
            del sys.modules[name]
            raise self._import_failure(str(file), error) from error
        return module, _import_path(folder, left)

    def load_module(self, name: str) -> tuple[ModuleType, ImportPath]:
        try:
            with on_import_path(ImportPath((str(Path.cwd()),))):
                module = import_module(name)
                left = list(sys.path)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise self._import_failure(name, error) from error
            raise self.error_type(
                f"{self.role} must be in a module that can be imported, got {name}, and there is no module {error.name}: "
                "install it, run from the directory it is in, or give path/to/file.py:fn"
            ) from error
        except (Exception, SystemExit) as error:  # whatever the user's module does
            raise self._import_failure(name, error) from error
        return module, _import_path(Path.cwd(), left)

    def _import_failure(self, location: str, error: BaseException) -> InputError:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return self.error_type(f"{self.role} must find what it imports, got no module {error.name}, which {location} imports")
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SyntaxError) else f" (line {last.lineno} of {Path(last.filename).name})"
        return self.error_type(
            f"{self.role} must import without an error, got {describe_error(error)}{where} from {location}: mend it first"
        )

    def find_function(self, module: ModuleType, path: str, location: str) -> Any:
        found: Any = module
        for name in path.split("."):
            if not hasattr(found, name):
                owner = location if found is module else f"{found.__name__} in {location}"
                known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
                own = [key for key in known if getattr(vars(found)[key], "__module__", None) == module.__name__] or known
                remedy = did_you_mean(name, own[:20]) if own else "it defines no function"
                raise self.error_type(f"{self.role} must be a function of {owner}, got {name!r}: {remedy}")
            found = getattr(found, name)
        if not callable(found):
            raise self.error_type(
                f"{self.role} must be callable, got {Path(location).name}:{path}, which is of type {type(found).__name__}"
            )
        return found
