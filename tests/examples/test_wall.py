"""The wall: each package has an adapter, and the page says what `wall.json` holds."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from robustbench_fgsm.verification.package_environment import PackageAttack, read_adapter
from tests.load_script import load_script

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "wall"
STORED = ROOT / "docs" / "reference" / "wall.json"


def load(name: str) -> ModuleType:
    return load_script(FOLDER / f"{name}.py")


build, effect = load("build"), load("effect")
ROWS: list[dict[str, Any]] = json.loads(STORED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", build.PACKAGES)
def test_every_attack_of_an_adapter_is_on_the_wall_with_its_claim(package: str) -> None:
    named = PackageAttack.parse(package)
    adapter = read_adapter(named, FOLDER)
    rows = {row["attack"]: row for row in ROWS if (row["package"], row["version"]) == (named.name, named.version)}
    assert rows.keys() == adapter.constants.ATTACKS.keys()
    for name, options in adapter.constants.ATTACKS.items():
        assert f"--method {rows[name]['claim']}" == options
        assert effect.right_attack(effect.read_options(options))


def test_every_adapter_is_of_a_package_of_the_wall() -> None:
    names = {PackageAttack.parse(package).name.replace("-", "_") for package in build.PACKAGES}
    assert {file.name.removesuffix("_adapter.py") for file in FOLDER.glob("*_adapter.py")} == names


def test_page_and_drafts_are_written_from_the_stored_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (STORED.parent / "wall.md").read_text(encoding="utf-8")
    drafts = {file.name: file.read_text(encoding="utf-8") for file in (FOLDER / "reports").glob("*.md")}
    monkeypatch.setattr(build, "DOCS", tmp_path)
    monkeypatch.setattr(build, "REPORTS", tmp_path / "reports")
    build.write_wall(ROWS)
    assert (tmp_path / "wall.md").read_text(encoding="utf-8") == page
    assert {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "reports").glob("*.md")} == drafts


def test_an_attack_that_is_not_right_has_a_finding_and_a_draft() -> None:
    wrong = [row for row in ROWS if row["verdict"] == "wrong"]
    drafts = {file.stem for file in (FOLDER / "reports").glob("*.md")}
    assert drafts == {f"{row['package']}-{row['version']}-{row['attack']}" for row in wrong}
    assert all(row["stages"] for row in wrong)
