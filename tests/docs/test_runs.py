"""The page about runs lists all options, files and columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from robustbench_fgsm.cli.main import app
from robustbench_fgsm.files.directory_lock import LOCK_FILE
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.directory import MANIFEST_FILE, RESULT_FILE
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE
from robustbench_fgsm.runs.ledger import ledger_name

PAGE = (Path(__file__).parents[2] / "docs/howto/runs.md").read_text(encoding="utf-8")
LISTED = {code.split()[0] for code in re.findall(r"`([^`\n]+)`", PAGE)}


def test_lists_every_option() -> None:
    program: Any = typer.main.get_command(app)
    commands = program.commands["runs"].commands
    options = {name for command in commands.values() for parameter in command.params for name in parameter.opts}
    assert {name for name in options if name.startswith("--")} <= LISTED | {"--help"}
    assert set(commands) == {"list", "show", "resume"}


def test_lists_files_columns_and_states() -> None:
    shown = load_schema("run-shown")
    states = shown["$defs"]["common"]["$defs"]["run"]["properties"]["state"]["enum"]
    columns = shown["properties"]["samples"]["items"]["required"]
    assert {MANIFEST_FILE, RESULT_FILE, EXAMPLE_IMAGES_FILE, LOCK_FILE, ledger_name(0), *states, *columns} <= LISTED
