"""Packages as pip would leave them, so that entry points are found as they are in real life."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution of one module, with these entry points for references; returns the module's file."""
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))

    def call(package: str, module: str, source: str, **references: str) -> Path:
        folder = place / f"{package.replace('-', '_')}-2.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.5\n")
        lines = [f"{name} = {value}" for name, value in references.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[robustbench_fgsm.references]", *lines, ""]))
        monkeypatch.setitem(sys.modules, module, sys)  # so that what is imported in its place is forgotten afterwards
        del sys.modules[module]
        file = place / f"{module}.py"
        file.write_text(source)
        return file

    return call
