"""The packages stand in one order, read off the source: imports inside functions and for type checkers count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import robustbench_fgsm

ORDER = [
    "errors",
    "stats",
    "spec",
    "user_code",
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
    "cli",
]
"""A module imports only what stands above it, or in its own package."""

PUBLIC_API = ["__init__.py", "__main__.py"]
"""These stand outside, and only `cli` may import from them."""

DRAWING = {"plot", "_repr_html_"}
"""Functions that may import what stands below them, since they only hand the caller's result on to be drawn."""

ATTACK_LIBRARIES = {"art", "foolbox", "torchattacks", "cleverhans"}
TAKE_ATTACK_LIBRARIES = ("references/", "models/art.py", "art.py", "evaluation/")

ROOT = Path(robustbench_fgsm.__file__).parent
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
    """Full names of all that is imported anywhere but in functions that draw."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name in DRAWING:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(word.value) for word in node.args if isinstance(word, ast.Constant))
        yield from imported(node, package)


def printing(source: str) -> bool:
    """Whether a module calls `print`."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)


def place_of(module: str) -> str:
    return module.partition("/")[0].removesuffix(".py")


def package_of(module: str) -> str:
    return ".".join(["robustbench_fgsm", *module.split("/")[:-1]])


def test_the_package_is_found() -> None:
    assert {"__init__.py", "spec.py", "attack/fgsm.py", "cli/main.py"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_place_and_imports_only_what_stands_above_it(module: str) -> None:
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
def test_the_check_finds_what_is_misplaced(module: str, source: str) -> None:
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
        (
            "comparison/result.py",
            "def _repr_html_(self):\n    from robustbench_fgsm.report.documents.notebook import page",
        ),
    ],
)
def test_the_check_lets_the_rest_pass(module: str, source: str) -> None:
    assert misplaced_imports(module, source) == []


def test_the_check_finds_a_print_inside_a_function() -> None:
    assert printing("def show(text):\n    print(text)")
    assert not printing("def show(console, text):\n    console.print(text)")
