"""The page about data names every source, and the program accepts its commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from robustbench_fgsm.cli.main import app
from robustbench_fgsm.cli.options import DataOptions
from robustbench_fgsm.data.registry import data_sources, find_data_source

PAGE = (Path(__file__).parents[2] / "docs/reference/data.md").read_text(encoding="utf-8")
LINES = re.findall(r"`(rfgsm evaluate --model [^`]+)` \|$", PAGE, re.MULTILINE)


def test_names_every_source() -> None:
    named = {code for row in re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE) for code in re.findall(r"`([^`]+)`", row)}
    assert {source.example for source in data_sources().values()} <= named


@pytest.mark.parametrize("line", LINES)
def test_command_is_valid(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_fgsm.registry.version", lambda _: "1.0")  # independent of installed packages
    _, command, *words = shlex.split(line)
    program: Any = typer.main.get_command(app)
    context = program.commands[command].make_context(command, words)
    find_data_source(context.params["data"])
    context.close()


def test_each_row_has_a_command() -> None:
    assert len(LINES) == sum(row.startswith("| `") and "rfgsm evaluate" in row for row in PAGE.splitlines()) >= 12


def test_lists_every_option() -> None:
    listed = {code.split()[0] for code in re.findall(r"`([^`\n]+)`", PAGE)}
    assert {f"--{name.replace('_', '-')}" for name in vars(DataOptions())} <= listed
