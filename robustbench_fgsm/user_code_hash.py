"""The hash of a user's code: of a module, and of all modules of the user's own that it imports."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from importlib import invalidate_caches
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

from robustbench_fgsm.files.regular_files import MAX_TEXT_BYTES, is_file, read_bytes

PACKAGE_DIRECTORY = Path(__file__).resolve().parent
INSTALLED_DIRECTORY_NAMES = frozenset(("site-packages", "dist-packages"))
IMPORT_FUNCTIONS = frozenset(("import_module", "__import__", "run_module", "run_path", "spec_from_file_location"))
"""Functions whose text arguments are taken for names of modules or for paths of Python files."""


def hash_user_code(module: ModuleType | None) -> str:
    """Return the SHA-256 of the source of a module and of the user's own modules that it imports, directly or not.

    A module is the user's own if its file is outside of the standard library, of installed packages, and of this package. Imports
    are found in the source, also those inside functions. Nothing is run. `sys.path` must be as it is when the module runs. The hash
    of a single file is that of its bytes. Empty if the module has no file, as in a notebook.
    """
    if module is None or (file := _source_file(module)) is None:
        return ""
    invalidate_caches()
    contents = {file: read_bytes(file, MAX_TEXT_BYTES, follow_links=True)}
    pending = [(file, _package_of(module))]
    while pending:
        place, package = pending.pop()
        for found, its_package in _imported_files(contents[place], place, package):
            if found not in contents and _is_user_file(found):
                contents[found] = read_bytes(found, MAX_TEXT_BYTES, follow_links=True)
                pending.append((found, its_package))
    hashes = {place: hashlib.sha256(content).hexdigest() for place, content in contents.items()}
    if len(hashes) == 1:
        return hashes[file]
    others = sorted((place.name, digest) for place, digest in hashes.items() if place != file)
    return hashlib.sha256(repr((hashes[file], others)).encode()).hexdigest()


def _source_file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and is_file(Path(file)) else None


def _package_of(module: ModuleType) -> str:
    return getattr(module, "__package__", None) or (module.__name__ if hasattr(module, "__path__") else "")


def _is_user_file(file: Path) -> bool:
    standard = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
    if INSTALLED_DIRECTORY_NAMES & set(file.parts) or file.is_relative_to(PACKAGE_DIRECTORY):
        return False
    return not any(file.is_relative_to(place) for place in standard)


ImportedFile = tuple[Path, str]
"""File of a module, and the package to which its relative imports belong."""


def _imported_files(content: bytes, place: Path, package: str) -> Iterator[ImportedFile]:
    if place.suffix != ".py":
        return
    for imported in _imported_names(content, package):
        if imported.endswith(".py"):
            file = (place.parent / imported).resolve()
            if is_file(file):
                yield file, ""
            continue
        parts = imported.split(".")
        for length in range(1, len(parts) + 1):  # a package runs before the modules in it
            found = _find_module(".".join(parts[:length]))
            if found is not None:
                yield found


def _imported_names(content: bytes, package: str) -> Iterator[str]:
    """Yield absolute names that the source imports, or may import, and paths of Python files that it loads by name."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            except ImportError:
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in IMPORT_FUNCTIONS:
                texts = (part.value for argument in node.args for part in ast.walk(argument) if isinstance(part, ast.Constant))
                yield from (text for text in texts if isinstance(text, str) and text.strip("."))


def _find_module(name: str) -> ImportedFile | None:
    """Return the file of a module by its absolute name; None if it has no file, or no module has this name."""
    loaded = sys.modules.get(name)
    if loaded is not None and (file := _source_file(loaded)) is not None:
        return file, _package_of(loaded)
    spec = _find_spec(name)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    package = name.rpartition(".")[0] if spec.submodule_search_locations is None else name
    return Path(spec.origin).resolve(), package


def _find_spec(name: str) -> ModuleSpec | None:
    """Return the spec of a module without importing it or its packages."""
    above = name.rpartition(".")[0]
    parent = _find_spec(above) if above else None
    if above and (parent is None or parent.submodule_search_locations is None):
        return None
    path = None if parent is None else parent.submodule_search_locations
    for finder in sys.meta_path:
        if (found := finder.find_spec(name, path)) is not None:
            return found
    return None
