"""The public names, and how little is loaded for them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import robustbench_fgsm as rf

HEAVY = {"torch", "torchvision", "art", "numpy", "scipy", "sklearn", "matplotlib"}
PROGRAMS = [[str(Path(sysconfig.get_path("scripts")) / "rfgsm")], [sys.executable, "-m", "robustbench_fgsm"]]


def python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@pytest.mark.parametrize("name", rf.__all__)
def test_every_public_name_resolves_and_is_no_module(name: str) -> None:
    assert not isinstance(getattr(rf, name), ModuleType)


def test_the_public_names_are_sorted_and_all_that_dir_shows() -> None:
    assert sorted(set(rf.__all__)) == rf.__all__
    assert dir(rf) == rf.__all__


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(rf.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert sorted([*seen, "__version__"]) == rf.__all__
    assert seen == {name: getattr(rf, name).__module__ for name in seen}


@pytest.mark.parametrize("name", ["nosuch", "__all", "load_model"])
def test_another_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'robustbench_fgsm' has no attribute '{name}'"):
        getattr(rf, name)


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = python("import sys, robustbench_fgsm; print(*sys.modules)").split()
    assert HEAVY.isdisjoint(loaded)
    assert "robustbench_fgsm" in loaded


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["attack", "--help"],
        ["benchmark", "--help"],
        ["compare", "--help"],
        ["evaluate", "--help"],
        ["explain", "--help"],
        ["sweep", "--help"],
        ["list", "--help"],
    ],
)
@pytest.mark.parametrize("program", PROGRAMS, ids=["rfgsm", "python -m"])
def test_help_loads_nothing_heavy(program: list[str], words: list[str]) -> None:
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=True, timeout=120, env=environment)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert HEAVY.isdisjoint(loaded)
    assert "robustbench_fgsm.cli.main" in loaded
    assert "rfgsm" in done.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    assert rf.__version__ == version("robustbench-fgsm")


@pytest.mark.parametrize(
    "first",
    [
        "import robustbench_fgsm.comparison.agreement",
        "from robustbench_fgsm.comparison.agreement import Agreement",
        "from robustbench_fgsm.comparison import agreement",
        "from robustbench_fgsm import Comparison; Comparison",
        "rf.compare; import robustbench_fgsm.comparison.agreement",
    ],
)
def test_compare_stays_the_function(first: str) -> None:
    code = f"import robustbench_fgsm as rf; {first}; print(type(rf.compare).__name__, rf.compare.__name__)"
    assert python(code).split() == ["function", "compare"]
