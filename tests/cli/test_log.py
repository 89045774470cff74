"""The log of one process: its directory, its lines, and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from robustbench_fgsm.cli import log
from robustbench_fgsm.cli.main import app
from robustbench_fgsm.errors import ResourceError


@pytest.mark.parametrize("words", [["evaluate", "--log-dir", "{}"], ["evaluate", "--log-dir={}"]])
def test_lines_carry_time_and_rank(words: list[str], tmp_path: Path) -> None:
    with log.open_log([word.format(tmp_path / "logs") for word in words]):
        assert log.is_open()
        log.write("one\ntwo")
    assert not log.is_open()
    lines = (tmp_path / "logs" / "rank-00000.log").read_text().splitlines()
    assert [line.partition(" rank 0: ")[2] for line in lines] == ["one", "two"]


def test_logs_only_with_the_option(tmp_path: Path) -> None:
    with log.open_log(["evaluate", "--log-dir"]):
        assert not log.is_open()
        log.write("one")
    assert not list(tmp_path.iterdir())


def test_refuses_a_file_as_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ResourceError, match=r"file/rank-00000.log must be writable, got .*: choose another directory"),
        log.open_log(["--log-dir", str(tmp_path / "file")]),
    ):
        pass


@pytest.mark.parametrize("words", ["-o kept", "-okept", "-qo kept", "-qokept", "--out kept", "--out=kept", "-m mobilenet -o kept"])
def test_finds_the_path_of_an_option(words: str) -> None:
    assert log.path_after(["evaluate", *words.split()], "--out", "-o") == Path("kept")


@pytest.mark.parametrize("words", ["-mokept", "-o", "-q", "o kept", "none"])
def test_finds_no_other_path(words: str) -> None:
    assert log.path_after(["evaluate", *words.split()], "--out", "-o") is None


def test_every_letter_without_a_value_is_known() -> None:
    top: Any = get_command(app)
    options = [one for command in top.commands.values() for one in command.params if getattr(one, "is_flag", False)]
    letters = {name[1:] for one in options for name in one.opts if len(name) == 2}
    assert letters | {"h"} == {*log.FLAG_LETTERS}
