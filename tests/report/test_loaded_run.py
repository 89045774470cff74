"""A finished run as reports read it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.report.loaded_run import PAGE_SCHEMAS, REPORTED_SCHEMAS, LoadedRun, check_schema, load_run
from robustbench_fgsm.report.summarize import SUMMARY_MODULES


def test_a_result_alone_is_a_run(tmp_path: Path, measured: Callable[..., dict[str, Any]]) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(measured()))
    run = load_run(file)
    assert (run.name, run.document, run.manifest, run.example_images) == ("mine", measured(), None, ())


def test_a_directory_gives_name_and_manifest(rivals: list[LoadedRun]) -> None:
    assert [run.name for run in rivals] == ["run 0", "run 1", "run 2"]
    assert all(run.manifest is not None and run.directory is not None for run in rivals)


def test_the_date_is_that_of_the_result(tmp_path: Path, measured: Callable[..., dict[str, Any]]) -> None:
    file = tmp_path / "result.json"
    file.write_text(json.dumps(measured()))
    os.utime(file, (86_400, 86_400))
    assert load_run(tmp_path).date == "1970-01-02 00:00 UTC"


def test_rejects_other_documents(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a run must be a directory with result.json in it"):
        load_run(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps({"schema": "rfgsm.gate/1"}))
    assert load_run(tmp_path).document["schema"] == "rfgsm.gate/1"
    with pytest.raises(RunError, match=r"a run must be of evaluate, .*, got one of gate in .*: make its page: rfgsm report "):
        load_run(tmp_path, REPORTED_SCHEMAS)
    with pytest.raises(RunError, match="got one of gate in"):
        load_run(tmp_path).plot()


def test_every_kind_of_document_has_a_page_or_a_remedy() -> None:
    listed = {"rfgsm.run-shown/1", "rfgsm.runs/1", "rfgsm.list/1"}
    assert {*PAGE_SCHEMAS} == SUMMARY_MODULES.keys() - listed
    for schema in listed:
        with pytest.raises(RunError, match="name the directory of a run"):
            check_schema(schema, PAGE_SCHEMAS, "here")
