"""The picture of the packages agrees with the imports."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.load_script import load_script

FOLDER = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    """docs/architecture.py."""
    return load_script(FOLDER / "architecture.py")


def test_picture_is_up_to_date(architecture: ModuleType) -> None:
    drawn = architecture.draw(architecture.module_imports())
    assert architecture.PICTURE.read_text(encoding="utf-8") == drawn, "the imports changed: run python docs/architecture.py"


def test_flow_names_imported_modules_only(architecture: ModuleType) -> None:
    modules = architecture.module_imports()
    modules["evaluation/evaluate.py"].clear()
    with pytest.raises(ValueError, match=r"must be imported by cli/commands/evaluate.py, got .*: correct FLOW"):
        architecture.draw({module: imports - {"engine/attack_batch.py"} for module, imports in modules.items()})


def test_page_explains_every_package(architecture: ModuleType) -> None:
    page = (FOLDER / "contributing/architecture.md").read_text(encoding="utf-8")
    for package in architecture.package_imports(architecture.module_imports()):
        assert f"| `{package}" in page, package


def test_shortcuts_are_left_out(architecture: ModuleType) -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert architecture.without_shortcuts(graph) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert architecture.rows(graph) == {"a": 2, "b": 1, "c": 0}
