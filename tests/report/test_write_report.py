"""Pages of runs from Python are those of the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import app
from robustbench_fgsm.report.loaded_run import LoadedRun
from tests.report.conftest import subject


def places(rivals: list[LoadedRun]) -> list[str]:
    return [str(run.directory) for run in rivals]


def test_the_page_of_several_runs(rivals: list[LoadedRun], tmp_path: Path) -> None:
    page = rf.write_report(places(rivals), tmp_path / "python.html")
    assert page == tmp_path / "python.html"
    done = CliRunner().invoke(app, ["report", *places(rivals), "-o", str(tmp_path / "command.html")])
    assert done.exit_code == 0, done.output
    assert page.read_bytes() == (tmp_path / "command.html").read_bytes()


def test_runs_may_be_directories_files_and_results(rivals: list[LoadedRun], tmp_path: Path) -> None:
    assert rivals[0].directory is not None
    given: list[Any] = [rivals[0].directory, str(rivals[1].directory) + "/result.json", rf.evaluate(*subject(1.0))]
    text = rf.write_report(given, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "run 0" in text
    assert "run 1" in text


@pytest.mark.parametrize("runs", [[], [3], "no such run"])
def test_other_runs_are_refused(runs: object, tmp_path: Path) -> None:
    with pytest.raises(rf.InputError):
        rf.write_report(runs, tmp_path / "page.html")  # type: ignore[arg-type]
    assert not (tmp_path / "page.html").exists()


def test_a_comparison_and_a_transfer_have_pages_alone(rivals: list[LoadedRun], tmp_path: Path) -> None:
    classifier, data = subject(1.0)
    with pytest.raises(rf.SettingError, match="make a page for each"):
        rf.write_report([rivals[0], rf.transfer([classifier], [classifier], data)], tmp_path / "page.html")


def test_a_page_and_a_gate_load_no_torch(rivals: list[LoadedRun], tmp_path: Path) -> None:
    first, second = places(rivals)[:2]
    code = f"""
import sys
import robustbench_fgsm as rf
rf.write_report([{first!r}, {second!r}], {str(tmp_path / "page.html")!r})
gate = rf.gate({first!r}, {second!r})
repr(gate), gate._repr_html_(), rf.load_run({first!r})._repr_html_()
print("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
