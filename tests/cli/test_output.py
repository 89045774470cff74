"""Results go to standard output, the rest to standard error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from robustbench_fgsm.cli.main import app
from robustbench_fgsm.cli.options import RESULT_OPTIONS, OutputOptions, TableFormat
from robustbench_fgsm.cli.output import format_summary, progress_bar, write_note, write_result
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.report.tables.sheet import Summary

Run = Callable[..., tuple[int, str, str]]


def test_quiet_hides_notes(capsys: pytest.CaptureFixture[str]) -> None:
    write_note("hello", quiet=False)
    write_note("again", quiet=True)
    assert capsys.readouterr() == ("", "hello\n")


def test_warnings_are_yellow_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for colours, expected in (("", "Warning: few\nno warning\n"), ("1", "\x1b[33mWarning: few\x1b[0m\nno warning\n")):
        monkeypatch.setenv("FORCE_COLOR", colours)  # as a terminal does
        monkeypatch.setenv("TERM", "xterm")
        write_note("Warning: few", quiet=False)
        write_note("no warning", quiet=False)
        assert capsys.readouterr().err == expected


def test_a_document_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    document: dict[str, Any] = {"name": "[red] ü \x1b", "value": None, "exit_code": 3}
    assert write_result(document, OutputOptions(json=True)) == 3
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (document, "")


def test_refuses_numbers_outside_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result({"value": float("nan"), "exit_code": 0}, OutputOptions(json=True))
    assert capsys.readouterr() == ("", "")


RUNS: dict[str, Any] = {
    "schema": "rfgsm.runs/1",
    "exit_code": 0,
    "runs": [
        {"path": "word " * 20 + "[bold] :smile:", "command": "train", "state": "complete", "done": 1, "pieces": 2}
        | {"model": None, "weights": None, "data": None}
    ],
}


def test_a_piped_table_has_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    write_result(RUNS, OutputOptions())
    out, err = capsys.readouterr()
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert "[bold] :smile:" in " ".join(out.split())
    assert err == ""


@pytest.mark.parametrize("name", ["runs.csv", "tables/"])
def test_csv_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_result(RUNS, OutputOptions(format=TableFormat.markdown, csv=tmp_path / name))
    file = tmp_path / ("runs.csv" if name == "runs.csv" else "tables/runs.csv")
    assert file.read_text(encoding="utf-8").splitlines()[0] == "run,command,state,done,model,data"
    assert capsys.readouterr().out.startswith("| run | command | state | done | model | data |")


def test_no_line_of_a_pipe_ends_in_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    write_result(RUNS, OutputOptions())
    assert not [line for line in capsys.readouterr().out.splitlines() if line != line.rstrip()]


def test_the_answer_of_a_pipe_is_one_line() -> None:
    summary = Summary(("heading",), closing=("word " * 30,), verdict=f"robust accuracy {'word ' * 30}")
    *lines, answer = format_summary(summary, TableFormat.table).splitlines()
    assert (lines[0], max(map(len, lines)) > 80, answer) == ("heading", False, summary.verdict)


def all_commands(group: Any = None) -> list[Any]:
    top: Any = get_command(app)
    found = list((top if group is None else group).commands.values())
    return [command for one in found for command in (all_commands(one) if hasattr(one, "commands") else [one])]


def test_every_result_has_the_same_options() -> None:
    """A command that prints JSON also prints every other format, and writes files; one that keeps a run can name it."""
    for command in all_commands():
        options = {parameter.name for parameter in command.params}
        if "json" in options:
            assert {*RESULT_OPTIONS} <= options, command.name
        assert ("out" in options) <= ("name" in options or command.name == "attack"), command.name


def test_the_name_of_a_run(run: Run, tmp_path: Path) -> None:
    place, page = str(tmp_path / "kept"), tmp_path / "page.html"
    words = ("evaluate", "mlp300", "--limit", "4", "--out", place, "--quiet")
    assert run(*words, "--name", "my run", "--html", str(page))[0] == 0
    assert "my run" in page.read_text(encoding="utf-8")
    assert run(*words)[0] == 0  # the name is no setting
    listed = run("runs", "list", str(tmp_path), "--json")[1]
    assert [one["name"] for one in json.loads(listed)["runs"]] == ["my run"]
    assert run("report", place, "--format", "csv")[1].splitlines()[1].startswith("my run,")
    assert "my run" in run("runs", "list", str(tmp_path))[1]
    assert "(my run)" in run("runs", "show", place)[1]
    code, _, said = run("evaluate", "mlp300", "--limit", "4", "--name", "my run")
    assert (code, "add --out DIR" in said) == (2, True)


def test_markdown_and_json_exclude_each_other() -> None:
    with pytest.raises(SettingError, match="--format markdown and --json exclude each other"):
        OutputOptions(json=True, format=TableFormat.markdown)


def test_only_the_main_process_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_result(RUNS | {"exit_code": 1}, OutputOptions(csv=tmp_path / "runs.csv"), is_main=False) == 1
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "runs.csv").exists()


def test_no_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("compare", quiet=False) as progress:
        progress(1, 2)
        progress(2, 2)
    assert capsys.readouterr() == ("", "")
