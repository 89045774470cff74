"""The summary and the CSV files of any document."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from robustbench_fgsm.report.schemas import load_schema, schema_names
from robustbench_fgsm.report.summarize import CSV_MODULES, SUMMARY_MODULES, csv_files, single_csv, summarize
from tests.report.runs import crossed, taught


def test_every_schema_has_a_summary() -> None:
    titled = {load_schema(name)["properties"]["schema"]["const"] for name in schema_names() if name != "common"}
    assert titled == SUMMARY_MODULES.keys()


@pytest.mark.parametrize("module", sorted({*SUMMARY_MODULES.values(), *CSV_MODULES.values()}))
def test_every_module_has_its_functions(module: str) -> None:
    found = import_module(f"robustbench_fgsm.report.documents.{module}")
    names = ("csv_files", "single_csv") if module in CSV_MODULES.values() else ("summarize",)
    assert all(callable(getattr(found, name)) for name in names)


def test_the_last_line_is_the_answer() -> None:
    document = crossed()
    others = [cell["epsilons"][-1]["robust_accuracy"] for cell in document["cells"] if cell["source"] != cell["target"]]
    lowest = min(100 * rate["value"] for rate in others)
    assert summarize(document).verdict.startswith(f"Lowest robust accuracy at epsilon 64/255: {lowest:.1f} % (clean ")
    assert "on images crafted on" in summarize(document).verdict
    alone = document | {"cells": [cell for cell in document["cells"] if cell["source"] == cell["target"]]}
    assert summarize(alone).verdict.endswith(", attacked itself.")
    kept = taught()["kept"]
    assert f"clean {100 * kept['clean']['value']:.1f} %" in summarize(taught()).verdict


def test_a_run_shows_its_result() -> None:
    run: dict[str, Any] = {"schema": "rfgsm.run-shown/1", "path": "a", "command": "train", "state": "complete", "damaged": 0}
    summary, result = summarize(run | {"done": 1, "pieces": 1, "result": taught()}), summarize(taught())
    assert summary.heading == ("a: train, complete, 1 of 1 quarters of an epoch",)
    assert summary.sections[0].sentences == result.heading
    assert (summary.sheets, summary.closing) == (result.sheets, result.closing)


def test_csv_comes_from_sheets_by_default() -> None:
    document = taught()
    assert csv_files(document) == {"epochs.csv": single_csv(document)}
    assert single_csv(document).splitlines()[0].startswith("epoch,loss,clean,clean_count,clean_n")
    assert sorted(csv_files(crossed())) == ["models.csv", "pairs.csv", "per_class.csv"]
