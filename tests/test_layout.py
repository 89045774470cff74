"""Structure of the package, read from its source: order of imports, cycles, sizes of signatures, tests for each module.

Imports inside functions and imports for type checkers count too.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import robustbench_fgsm
from tests.load_script import load_script

ORDER = [
    "errors",
    "short_repr",
    "printable_text",
    "files",
    "stats",
    "feature_values",
    "spec",
    "options",
    "user_code_hash",
    "user_code",
    "global_settings",
    "registry",
    "attack",
    "models",
    "data",
    "variants",
    "engine",
    "references",
    "evaluation",
    "training",
    "verification",
    "comparison",
    "explanation",
    "benchmarking",
    "runs",
    "report",
    "art",
    "testing",
    "pytest_plugin",
    "cli",
]
"""A module imports only what stands above it, or in its own package."""

PUBLIC_API = ["__init__.py", "__main__.py"]
"""These stand outside, and only `cli` may import from them."""

ATTACK_LIBRARIES = {"art", "foolbox", "torchattacks", "cleverhans"}
TAKE_ATTACK_LIBRARIES = ("references/", "models/art.py", "art.py", "evaluation/")

PRIVATE_NAMES_IN_TESTS = {"models/sources/test_torchvision.py": {"_value_"}}
"""`_value_` belongs to `enum`, not to the package."""

MAX_PARAMETERS = 12
LONG_SIGNATURE = 8
MAX_LONG_SIGNATURES = 1
MIN_DOCSTRING_WORDS = 5

ROOT = Path(robustbench_fgsm.__file__).parent
TESTS = Path(__file__).parent
ARCHITECTURE = load_script(TESTS.parent / "docs/architecture.py")
MODULES = sorted(file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py"))


def misplaced_imports(module: str, source: str) -> list[str]:
    """Imports against the order, and attack libraries where they may not be; module: its path inside the package."""
    place = place_of(module)
    found = []
    for name in imported(ast.parse(source), package_of(module)):
        top, *inside = name.split(".")
        if top in ATTACK_LIBRARIES and not module.startswith(TAKE_ATTACK_LIBRARIES):
            found.append(f"{module} imports {name}, an attack library")
        if top == "robustbench_fgsm" and place in ORDER and not may_import(place, inside):
            found.append(f"{module} imports {name}")
    return found


def may_import(place: str, inside: list[str]) -> bool:
    if not inside or inside[0] not in ORDER:  # the public API
        return place == "cli"
    return ORDER.index(inside[0]) <= ORDER.index(place)


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of all that is imported anywhere but in functions that draw, also by a name as text."""
    yield from ARCHITECTURE.imported_names(tree, package)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(word.value) for word in node.args if isinstance(word, ast.Constant))


def import_graph() -> dict[str, set[str]]:
    """Modules and the modules that each one imports."""
    known = {dotted(module): module for module in MODULES if module not in PUBLIC_API}
    graph: dict[str, set[str]] = {}
    for name, module in known.items():
        source = (ROOT / module).read_text(encoding="utf-8")
        names = imported(ast.parse(source), package_of(module))
        targets = (target if target in known else target.rpartition(".")[0] for target in names)
        graph[name] = {target for target in targets if target in known} - {name}
    return graph


@cache
def parsed(module: str) -> ast.Module:
    """Syntax tree of a module."""
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def parameter_count(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of parameters, `self` and `cls` left out."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([parameter for parameter in given if parameter.arg not in ("self", "cls")])


def short_docstrings(tree: ast.AST) -> Iterator[str]:
    """Docstrings of too few words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text is not None and len(text.split()) < MIN_DOCSTRING_WORDS:
                yield text


def private_names(source: str) -> set[str]:
    """Private names of the package that a test uses."""
    tree = ast.parse(source)
    found: set[str] = set()
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "robustbench_fgsm":
            ours.update(alias.asname or alias.name for alias in node.names)
            found.update(alias.name for alias in node.names if is_private(alias.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ours and is_private(node.attr):
            found.add(f"{node.value.id}.{node.attr}")
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
            found.update(word for word in words if is_private(word.rpartition(".")[2]))
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in ARCHITECTURE.CALLER_RESULTS


def printing(source: str) -> bool:
    """Whether a module calls `print`."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)


def place_of(module: str) -> str:
    return module.partition("/")[0].removesuffix(".py")


def dotted(module: str) -> str:
    return ".".join(["robustbench_fgsm", *module.removesuffix(".py").removesuffix("/__init__").split("/")])


def package_of(module: str) -> str:
    return ".".join(["robustbench_fgsm", *module.split("/")[:-1]])


def test_no_import_cycles() -> None:
    graphlib.TopologicalSorter(import_graph()).prepare()


def test_finds_a_cycle() -> None:
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({**import_graph(), "robustbench_fgsm.errors": {"robustbench_fgsm.cli.main"}}).prepare()


def test_signatures_are_short() -> None:
    """Public functions have one keyword for each setting; ART's own `__init__` is the other one."""
    counts = {
        f"{module}:{function.name}": parameter_count(function)
        for module in MODULES
        for function in functions(parsed(module))
        if function.name not in robustbench_fgsm.__all__
    }
    long = {name: count for name, count in counts.items() if count > LONG_SIGNATURE}
    assert len(long) <= MAX_LONG_SIGNATURES, long
    assert all(count <= MAX_PARAMETERS for count in long.values()), long


def test_docstrings_have_five_words() -> None:
    assert [(module, text) for module in MODULES for text in short_docstrings(parsed(module))] == []


def test_every_module_has_a_test_file() -> None:
    paths = [Path(module) for module in MODULES if not module.endswith("__.py")]
    assert [path for path in paths if not (TESTS / path.parent / f"test_{path.name}").is_file()] == []


def test_tests_use_no_private_names() -> None:
    files = sorted(file.relative_to(TESTS).as_posix() for file in TESTS.rglob("*.py"))
    found = {file: private_names((TESTS / file).read_text(encoding="utf-8")) for file in files}
    assert {file: names for file, names in found.items() if names} == PRIVATE_NAMES_IN_TESTS


def test_the_package_is_found() -> None:
    assert {"__init__.py", "spec.py", "attack/fgsm.py", "cli/main.py"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_order(module: str) -> None:
    assert module in PUBLIC_API or place_of(module) in ORDER
    assert misplaced_imports(module, (ROOT / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith("cli/")])
def test_only_the_command_line_prints(module: str) -> None:
    assert not printing((ROOT / module).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models/load.py", "from robustbench_fgsm.data.load import load_data"),
        ("models/load.py", "import robustbench_fgsm.data.load"),
        ("models/load.py", "from robustbench_fgsm import data"),
        ("models/load.py", "from ..data import load"),
        ("models/load.py", "from .. import data"),
        ("models/load.py", "def load():\n    from robustbench_fgsm.data.load import load_data"),
        ("models/load.py", "if TYPE_CHECKING:\n    from robustbench_fgsm.data.dataset import Dataset"),
        ("models/load.py", "class Loader:\n    async def load(self):\n        import robustbench_fgsm.data"),
        ("models/load.py", "importlib.import_module('robustbench_fgsm.data')"),
        ("errors.py", "from robustbench_fgsm.spec import AttackSpec"),
        ("stats/tally.py", "from robustbench_fgsm.report.tables.terminal import comparison"),
        ("report/tables/terminal.py", "import robustbench_fgsm as rf"),
        ("report/tables/terminal.py", "from robustbench_fgsm import fgsm"),
        ("stats/tally.py", "import art"),
        ("stats/tally.py", "def attack():\n    from foolbox.attacks import FGSM"),
        ("models/load.py", "import torchattacks"),
        ("cli/commands/compare.py", "from cleverhans.torch.attacks import fast_gradient_method"),
        ("__init__.py", "import art.attacks"),
    ],
)
def test_check_finds_misplaced_imports(module: str, source: str) -> None:
    assert len(misplaced_imports(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("engine/outcomes.py", "from robustbench_fgsm.data.dataset import Batch"),
        ("stats/tally.py", "from robustbench_fgsm.stats.rate import Rate"),
        ("stats/tally.py", "from . import rate"),
        ("data/load.py", "from ..models import load"),
        ("stats/tally.py", "import numpy, torch.nn, artful"),
        ("cli/main.py", "import robustbench_fgsm"),
        ("__init__.py", "from robustbench_fgsm.cli.main import main"),
        ("references/art.py", "import art"),
        ("models/art.py", "import art"),
        ("art.py", "from art.attacks.evasion import FastGradientMethod"),
        ("evaluation/stronger_attacks.py", "import art"),
        ("comparison/result.py", "def plot(self):\n    from robustbench_fgsm.report.figures.curves import draw"),
        ("comparison/result.py", "def _repr_html_(self):\n    from robustbench_fgsm.report.tables.html import page"),
    ],
)
def test_the_check_lets_the_rest_pass(module: str, source: str) -> None:
    assert misplaced_imports(module, source) == []


def test_check_finds_a_print() -> None:
    assert printing("def show(text):\n    print(text)")
    assert not printing("def show(console, text):\n    console.print(text)")
