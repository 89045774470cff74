"""Results go to standard output, the rest to standard error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.cli.options import OutputOptions, TableFormat
from robustbench_fgsm.cli.output import progress_bar, write_note, write_result
from robustbench_fgsm.errors import SettingError


def test_quiet_hides_notes(capsys: pytest.CaptureFixture[str]) -> None:
    write_note("hello", quiet=False)
    write_note("again", quiet=True)
    assert capsys.readouterr() == ("", "hello\n")


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
