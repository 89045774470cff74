"""The log of one process: its directory, its lines, and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_fgsm.cli import log
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
        pytest.raises(ResourceError, match="--log-dir must be a directory that can be written"),
        log.open_log(["--log-dir", str(tmp_path / "file")]),
    ):
        pass
