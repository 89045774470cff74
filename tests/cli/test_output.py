"""Results go to standard output, the rest to standard error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.text import Text

from robustbench_fgsm.cli.output import progress_bar, write_note, write_result


def test_a_note_goes_to_standard_error_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    write_note("hello", quiet=False)
    write_note("again", quiet=True)
    assert capsys.readouterr() == ("", "hello\n")


def test_a_document_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    document: dict[str, Any] = {"name": "[red] ü \x1b", "value": None, "n": 3}
    write_result(document, lambda _: "", as_json=True)
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (document, "")


def test_no_number_that_json_does_not_know_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result({"value": float("nan")}, lambda _: "", as_json=True)
    assert capsys.readouterr() == ("", "")


def test_a_table_is_80_columns_wide_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    write_result({"n": 3}, lambda document: Text("word " * 20 + f"[bold] :smile: {document['n']}"), as_json=False)
    out, err = capsys.readouterr()
    assert max(len(line.rstrip()) for line in out.splitlines()) == 79
    assert out.endswith("[bold] :smile: 3\n")
    assert err == ""


def test_no_progress_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("compare", quiet=False) as progress:
        progress(1, 2)
        progress(2, 2)
    assert capsys.readouterr() == ("", "")
