"""Test that the hash of a user's code covers all modules of the user's own, however they are imported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.user_code import load_user_function
from robustbench_fgsm.user_code_hash import hash_user_code

Place = Callable[[str], str]

IMPORTS = {
    "import": ("import {name}\ndef fn(): return {name}.VALUE\n", "{name}.py"),
    "from": ("from {name} import VALUE\ndef fn(): return VALUE\n", "{name}.py"),
    "star": ("from {name} import *\ndef fn(): return VALUE\n", "{name}.py"),
    "inside a function": ("def fn():\n    from {name} import VALUE\n    return VALUE\n", "{name}.py"),
    "not met yet": ("def fn(x=None):\n    if x:\n        import {name}\n", "{name}.py"),
    "import_module": ("from importlib import import_module\ndef fn(): return import_module('{name}')\n", "{name}.py"),
    "package": ("import {name}.part\ndef fn(): ...\n", "{name}/__init__.py"),
    "module of a package": ("from {name} import part\ndef fn(): ...\n", "{name}/part.py"),
    "relative": ("import {name}\ndef fn(): ...\n", "{name}/part.py"),
    "run by path": ("import runpy\ndef fn(): return runpy.run_path('{name}.py')\n", "{name}.py"),
    "another folder": ("import sys\nsys.path.append('lib')\nimport {name}\ndef fn(): ...\n", "lib/{name}.py"),
}
"""Code that imports a module called {name}, and the file that must count."""


def load_hash(place: Path) -> str:
    return load_user_function(f"{place}:fn", "factory", rf.ModelError).hash_code()


@pytest.mark.parametrize("kind", IMPORTS)
def test_covers_what_is_imported(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "imported_" + kind.replace(" ", "_")
    code, file = (text.format(name=name) for text in IMPORTS[kind])
    main, changed = tmp_path / "main.py", tmp_path / file
    main.write_text(code)
    changed.parent.mkdir(exist_ok=True)
    if kind in ("package", "module of a package", "relative"):
        (changed.parent / "__init__.py").write_text("from . import part\n" if kind == "relative" else "")
        (changed.parent / "part.py").write_text("")
    changed.write_text("VALUE = 1\n")
    before = load_hash(main)
    assert load_hash(main) == before
    changed.write_text("VALUE = 2\n")
    assert load_hash(main) != before


def test_covers_modules_at_any_distance(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"distant_{number}.py").write_text(f"import distant_{(number + 1) % 4}\n")  # in a circle
    (tmp_path / "main.py").write_text("import distant_0\ndef fn(): ...\n")
    before = load_hash(tmp_path / "main.py")
    (tmp_path / "distant_3.py").write_text("import distant_0, math\n")
    assert load_hash(tmp_path / "main.py") != before


def test_one_file_has_its_own_hash(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text("import math, numpy, torch, robustbench_fgsm, pytest\ndef fn(): ...\n")
    assert load_hash(main) == hashlib.sha256(main.read_bytes()).hexdigest()


def test_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    found = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "main.py").write_text("import sibling_of_main\ndef fn(): ...\n")
        (tmp_path / folder / "sibling_of_main.py").write_text("VALUE = 1\n")
        found.append(load_hash(tmp_path / folder / "main.py"))
    assert found[0] == found[1]


def test_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "never_run.py").write_text("raise SystemExit\n")
    (tmp_path / "main.py").write_text("def fn():\n    import never_run\n")
    assert load_hash(tmp_path / "main.py")


def test_is_empty_without_a_file() -> None:
    assert hash_user_code(None) == hash_user_code(__import__("sys")) == ""
