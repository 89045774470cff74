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
COMMANDS = (
    *("attack", "benchmark", "compare", "evaluate", "explain", "gate", "list", "lock"),
    *("plot", "report", "runs", "sweep", "train", "transfer", "verify"),
)
PROGRAMS = [[str(Path(sysconfig.get_path("scripts")) / "rfgsm")], [sys.executable, "-m", "robustbench_fgsm"]]


def python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@pytest.mark.parametrize("name", rf.__all__)
def test_public_names_resolve(name: str) -> None:
    assert not isinstance(getattr(rf, name), ModuleType)


def test_dir_is_all() -> None:
    assert sorted(set(rf.__all__)) == rf.__all__
    assert dir(rf) == rf.__all__


def test_stub_names_the_defining_module() -> None:
    tree = ast.parse(Path(rf.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    declared = {alias.name: f"robustbench_fgsm.{node.module}" for node in imports for alias in node.names}
    assert sorted([*declared, "__version__"]) == rf.__all__
    assert declared == {name: getattr(rf, name).__module__ for name in declared}


@pytest.mark.parametrize("name", ["nosuch", "__all", "load_model"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(AttributeError, match=f"No robustbench_fgsm attribute {name}"):
        getattr(rf, name)


def test_an_evaluation_of_a_bundled_network_loads_what_it_uses() -> None:
    """Importing torchvision takes as long as importing torch, because it imports torch's compiler."""
    arguments = ["rfgsm", "evaluate", "--model", "resnet18", "--limit", "1", "--quiet"]
    code = f"import sys; from robustbench_fgsm.cli.main import main; sys.argv = {arguments}; import atexit"
    loaded = python(f"{code}; atexit.register(lambda: print(*sys.modules)); main()").split()
    assert "torch" in loaded
    assert (HEAVY - {"torch", "numpy"} | {"torch._dynamo"}).isdisjoint(loaded)


def test_import_loads_no_heavy_module() -> None:
    loaded = python("import sys, robustbench_fgsm; print(*sys.modules)").split()
    assert HEAVY.isdisjoint(loaded)
    assert "robustbench_fgsm" in loaded


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in COMMANDS),
        *(["runs", command, "--help"] for command in ("list", "show", "resume")),
    ],
)
@pytest.mark.parametrize("program", PROGRAMS, ids=["rfgsm", "python -m"])
def test_help_loads_no_heavy_module(program: list[str], words: list[str]) -> None:
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=True, timeout=120, env=environment)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert HEAVY.isdisjoint(loaded)
    assert "robustbench_fgsm.cli.main" in loaded
    assert "rfgsm" in done.stdout


def test_version() -> None:
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
