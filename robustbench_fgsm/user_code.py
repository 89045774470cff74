"""A user's own code: load a function, `pkg.mod:fn` or `file.py:fn`, and turn its errors into one line."""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from robustbench_fgsm.errors import PACKAGE_FOLDER, InputError, RfgsmError, describe_error, did_you_mean, is_out_of_memory
from robustbench_fgsm.files.regular_files import MAX_TEXT_BYTES, read_bytes, require_file
from robustbench_fgsm.user_code_hash import hash_user_code

FUNCTION_SPEC_FORMAT = "file.py:fn or pkg.mod:fn"
CANDIDATE_FORMAT = "file.py:fn, pkg.mod:fn or adv.npz"


LIBRARY_FOLDERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
TORCH_FOLDER = str(Path(sysconfig.get_path("platlib"), "torch"))


class user_code:  # noqa: N801  (a context manager)
    """Context in which a user's code runs: an error of the code becomes `error_type`, with the code's error as its cause.

    The message is `{expected}, it raised {type}: {message} ({file}:{line})` and the remedy. Four kinds of errors pass unchanged:
    this package's own, an interrupt, a closed generator, and a lack of memory, after which batches are halved.

    Args:
        expected: what the code must do, as in `model must accept images of shape (3, 28, 28)`.
        error_type: class of the error.
        remedy: remedy, or a function from the code's error to the remedy; empty for none.
    """

    __slots__ = ("error_type", "expected", "remedy")

    def __init__(
        self, expected: str | Callable[[], str], error_type: type[Exception], remedy: str | Callable[[BaseException], str] = ""
    ) -> None:
        self.expected, self.error_type, self.remedy = expected, error_type, remedy

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or isinstance(error, RfgsmError | KeyboardInterrupt | GeneratorExit) or is_out_of_memory(error):
            return
        expected = self.expected() if callable(self.expected) else self.expected
        remedy = self.remedy(error) if callable(self.remedy) else self.remedy
        text = f"{expected}, it raised {describe_error(error)}{place_text(error)}"
        raise self.error_type(f"{text}: {remedy}" if remedy else text) from error


def find_user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame of an error that is neither in this package nor in a library; None if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = (PACKAGE_FOLDER, *LIBRARY_FOLDERS, "<")
    return next((frame for frame in reversed(frames) if not frame.filename.startswith(outside)), None)


def place_text(error: BaseException) -> str:
    """Return ` (file.py:12)`: the innermost line of the user's files, or else of a library that is not PyTorch; else nothing."""
    frame = find_user_frame(error)
    if frame is None:
        outside = (PACKAGE_FOLDER, TORCH_FOLDER, "<")
        frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(outside)]
        frame = frames[-1] if frames else None
    return "" if frame is None else f" ({Path(frame.filename).name}:{frame.lineno})"


def required_parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that have no default; none if the signature is unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built in, without a signature
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is inspect.Parameter.empty and one.kind not in variable]


def call_factory(spec: str, returned: str, error_type: type[InputError]) -> tuple[Any, str]:
    """Return what the user's function of that spec returns, and the hash of its code; returned: what it must return, for messages.

    Raises error_type if there is no such function, if it needs arguments, or if it raises an error.
    """
    loaded = load_user_function(spec, "factory", error_type)
    function, short = loaded.function, spec.rpartition(":")[2]
    missing = required_parameters(function)
    if missing or not (inspect.isroutine(function) or isinstance(function, type | partial)):
        shown = f"{short}({', '.join(missing)})" if missing else f"{short}, an object of type {type(function).__name__}"
        call = f"{short}({', '.join(f'{name}=...' for name in missing)})" if missing else short
        location = spec.rpartition(":")[0]
        raise error_type(
            f"factory must be a function without arguments that returns {returned}, got {shown}: "
            f"write `def make(): return {call}` in {location} and pass factory:{location}:make"
        )
    with on_import_path(loaded.import_path), user_code(f"factory {spec} must return {returned}", error_type):
        made = function()
    return made, loaded.hash_code()


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

    def hash_code(self) -> str:
        """Return the SHA-256 of the function's module and of the user's own modules that it imports; see `hash_user_code`."""
        with on_import_path(self.import_path):
            return hash_user_code(self.module)


def check_code_place(spec: str, role: str, error_type: type[InputError], *, expected_format: str = FUNCTION_SPEC_FORMAT) -> str:
    """Return the file or module of a spec; raise error_type if there is none, or the spec names no function; run nothing."""
    location, colon, path = spec.rpartition(":")
    if not (colon and location.strip(".") and path):
        raise error_type(f"{role} must look like {expected_format}, got {spec!r}: name the function too")
    if is_code_file(location):
        require_file(Path(location), f"{role} must be in a file", error_type)
        return location
    package = location.partition(".")[0]
    with on_import_path(ImportPath((str(Path.cwd()),))):
        if package not in sys.modules and find_spec(package) is None:
            raise error_type(f"{role} must be in a module that can be imported, got {location}, {no_module_text(package)}")
    return location


def is_code_file(location: str) -> bool:
    """Return True if the part of a spec before the colon is a file, not a module."""
    return location.endswith((".py", ".ipynb")) or "/" in location or "\\" in location


def no_module_text(missing: str) -> str:
    """Return that a module is missing, and what to do."""
    return f"and there is no module {missing}: install it, run from the directory it is in, or give path/to/file.py:fn"


def load_user_function(
    spec: str, role: str, error_type: type[InputError], *, expected_format: str = FUNCTION_SPEC_FORMAT
) -> UserFunction:
    """Return the function that a spec names; the part after the colon may have dots, as in `Class.method`.

    The module is run: load only code that you would run. While the module loads, it may import from its own folder, or from the
    current directory if it is given as a module. `sys.path` is restored afterwards; what the module added is in `import_path`.
    role: word for the function in messages. Raises error_type if the function does not exist, cannot be imported or cannot be
    called.
    """
    location, path = check_code_place(spec, role, error_type, expected_format=expected_format), spec.rpartition(":")[2]
    loader = _UserCodeLoader(role, error_type)
    if is_code_file(location):
        file = Path(location)
        module, places = loader.load_file(file)
        return UserFunction(loader.find_function(module, path, location), f"{file.name}:{path}", module, places)
    module, places = loader.load_module(location)
    return UserFunction(loader.find_function(module, path, location), spec, module, places)


@contextmanager
def on_import_path(places: ImportPath) -> Iterator[None]:
    """Put the places on `sys.path`; afterwards restore `sys.path`, also if the body changed it."""
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
        require_file(file, f"{self.role} must be in a file", self.error_type)
        read_bytes(file, MAX_TEXT_BYTES, follow_links=True)  # a file that is too large is refused before Python reads it
        digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
        name = f"rfgsm_{file.stem}_{digest}"  # its own, so that no module of the same name is hidden
        spec = spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            remedy = "copy the function into a .py file" if file.suffix == ".ipynb" else "rename it to end in .py"
            raise self.error_type(f"{self.role} must be in a Python file, got {file}: {remedy}")
        module = module_from_spec(spec)
        folder = file.resolve().parent
        sys.modules[name] = module  # dataclasses and pickles look their module up there
        try:
            with on_import_path(ImportPath((str(folder),))), self._importing(str(file)):
                spec.loader.exec_module(module)
                left = list(sys.path)
        except BaseException:
            del sys.modules[name]
            raise
        return module, _import_path(folder, left)

    def load_module(self, name: str) -> tuple[ModuleType, ImportPath]:
        try:
            with on_import_path(ImportPath((str(Path.cwd()),))), self._importing(name):
                module = import_module(name)
                left = list(sys.path)
        except self.error_type as error:
            missing = getattr(error.__cause__, "name", None) if isinstance(error.__cause__, ModuleNotFoundError) else None
            if missing is None or not f"{name}.".startswith(f"{missing}."):
                raise
            raise self.error_type(
                f"{self.role} must be in a module that can be imported, got {name}, {no_module_text(missing)}"
            ) from error.__cause__
        return module, _import_path(Path.cwd(), left)

    def _importing(self, location: str) -> user_code:
        def remedy(error: BaseException) -> str:
            return "install what it imports" if isinstance(error, ImportError) else "fix it first"

        return user_code(f"{self.role} must import from {location} without an error", self.error_type, remedy)

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
