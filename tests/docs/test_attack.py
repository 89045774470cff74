"""The page and the example about saved adversarial images are complete and work."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import typer

from robustbench_fgsm.cli.main import app
from robustbench_fgsm.report.schemas import load_schema

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/attack.md").read_text(encoding="utf-8")
LISTED = {code.split()[0] for code in re.findall(r"`([^`\n]+)`", PAGE)}


def test_lists_every_option() -> None:
    program: Any = typer.main.get_command(app)
    assert {max(parameter.opts, key=len) for parameter in program.commands["attack"].params} <= LISTED | {"--check", "--help"}


def test_lists_manifest_keys() -> None:
    assert set(load_schema("attack")["required"]) - {"gradient"} <= LISTED


def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples/save_adversarial.py"), run_name="__main__")
    first, second, *verified = capsys.readouterr().out.splitlines()
    assert first.startswith("200 images, robust accuracy ")
    assert "images (100, 1, 28, 28)" in second
    assert verified[0] == verified[2] == "verified: True"
    assert verified[1].startswith("adversarial-00001.safetensors: expected ")
