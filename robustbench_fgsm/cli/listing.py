"""`rfgsm list`."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.bundles import DataRoot


class What(StrEnum):
    """What can be listed."""

    models = "models"
    data = "data"
    references = "references"


def list_command(
    what: Annotated[What, typer.Argument(help="What to list.", show_default=False)],
    data_root: DataRoot = Path("data"),
    json: options.Json = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """List what can be named: models, data sets or references.

    Example: rfgsm list models
    """
    from robustbench_fgsm.cli.output import write_result

    began = time.perf_counter()
    rows = _data(data_root) if what is What.data else {What.models: _models, What.references: _references}[what]()
    write_result(_document(what, rows, time.perf_counter() - began), lambda _: _table(rows), as_json=json)
    return 0


def _document(what: What, rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    from robustbench_fgsm.measure.environment import describe_software

    return {
        "schema": "rfgsm.list/1",
        "status": "complete",
        "exit_code": 0,
        "invalid_reasons": [],
        "warnings": [],
        what.value: rows,
        "environment": describe_software(),
        "seconds": {"total": seconds},
    }


def _models() -> list[dict[str, Any]]:
    from robustbench_fgsm.models.bundled import DATA, cards

    keys = ("name", "weights", "parameters", "clean_accuracy")
    return [{key: card[key] for key in keys} | {"data": DATA} for card in cards()]


def _data(root: Path) -> list[dict[str, Any]]:
    from robustbench_fgsm.data.registry import sources

    return [
        {"name": source.spec, "state": source.state(root), "summary": source.summary} for source in sources().values()
    ]


def _references() -> list[dict[str, Any]]:
    from dataclasses import asdict

    from robustbench_fgsm.reference import list_references

    return [asdict(found) for found in list_references()]


def _table(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for key in _shown(rows[0]):
        table.add_column(Text(key.replace("_", " ")))
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in _shown(row).values()))
    return table


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """The row for reading: how to install something stands where its version would."""
    shown = {key: value for key, value in row.items() if key != "install"}
    return shown | {"version": f"none: {row['install']}"} if shown.get("version", "") is None else shown


def _cell(value: Any) -> str:
    from robustbench_fgsm.report.terminal import rate_text

    if isinstance(value, dict):
        return f"{rate_text(value)} n={value['n']:,}"
    return f"{value:,}" if isinstance(value, int) else str(value)
